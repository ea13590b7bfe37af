/** Builds the key index from the records of the `key` bucket, in slices. */
import type { RecordVisitor } from "../backend/index.js";
import type { KeyLeases, MvccStoreOptions } from "./contract.js";
import type { KeyIndex } from "./key-index.js";
import { KeyValueReader } from "./key-value.js";

/** One slice: a few milliseconds. */
const slice = { records: 1_000, bytes: 4 << 20 } as const;

class IndexBuilder implements RecordVisitor {
  readonly #index: KeyIndex;
  readonly #keyLeases: KeyLeases | undefined;
  readonly #record = new KeyValueReader();
  lastMain = 0;

  constructor(index: KeyIndex, keyLeases: KeyLeases | undefined) {
    this.#index = index;
    this.#keyLeases = keyLeases;
  }

  visit(main: number, sub: number, tombstone: boolean, bytes: Uint8Array, start: number, end: number): void {
    const record = this.#record;
    record.read(bytes, start, end);
    const { keyStart, keyEnd } = record;
    if (tombstone) {
      this.#index.restoreTombstone(bytes, keyStart, keyEnd, main, sub);
      this.#keyLeases?.keyDeleted(bytes, keyStart, keyEnd);
    } else {
      this.#index.restorePut(bytes, keyStart, keyEnd, record.createRevision, main, sub, record.version);
      this.#keyLeases?.keyPut(bytes, keyStart, keyEnd, record.leaseLow, record.leaseHigh);
    }
    this.lastMain = main;
  }
}

/** Returns the main revision of the last record, 0 when there is none. */
export async function restoreIndex(
  index: KeyIndex,
  { backend, yield: yieldNow, keyLeases }: MvccStoreOptions,
): Promise<number> {
  const builder = new IndexBuilder(index, keyLeases);
  const position = { main: 0, sub: 0 };
  while (backend.scanRecords(position, slice, builder)) await yieldNow();
  return builder.lastMain;
}
