/** Builds the key index from the records of the `key` bucket, in slices. */
import type { Backend, RecordVisitor } from "../backend/index.js";
import type { KeyIndex } from "./key-index.js";
import { KeyValueReader } from "./key-value.js";

/** One slice: a few milliseconds. */
const slice = { records: 1_000, bytes: 4 << 20 } as const;

class IndexBuilder implements RecordVisitor {
  readonly #index: KeyIndex;
  readonly #record = new KeyValueReader();
  lastMain = 0;

  constructor(index: KeyIndex) {
    this.#index = index;
  }

  visit(main: number, sub: number, tombstone: boolean, bytes: Uint8Array, start: number, end: number): void {
    const record = this.#record;
    record.read(bytes, start, end);
    const { keyStart, keyEnd } = record;
    if (tombstone) this.#index.restoreTombstone(bytes, keyStart, keyEnd, main, sub);
    else this.#index.restorePut(bytes, keyStart, keyEnd, record.createRevision, main, sub, record.version);
    this.lastMain = main;
  }
}

/** Returns the main revision of the last record, 0 when there is none. */
export async function restoreIndex(index: KeyIndex, backend: Backend, yieldNow: () => Promise<void>): Promise<number> {
  const builder = new IndexBuilder(index);
  const position = { main: 0, sub: 0 };
  while (backend.scanRecords(position, slice, builder)) await yieldNow();
  return builder.lastMain;
}
