/**
 * A backend that keeps a digest of all that apply has changed, entry by entry: two members that have applied the same
 * entries must have made the same changes, down to the bytes. Otherwise the backend that it is given.
 */
import type {
  Backend,
  BackendEntry,
  BackendSizes,
  MemoryBackend,
  RecordView,
  RecordVisitor,
  ScanLimits,
  ScanPosition,
  SmallBucket,
} from "../../src/storage/backend/index.js";

/** FNV-1a over bytes, in two halves that differ in their start, as one safe integer. */
function mixed(digest: number, bytes: Uint8Array, from: number, to: number): number {
  let low = digest >>> 0;
  let high = Math.floor(digest / 2 ** 32) >>> 0;
  for (let i = from; i < to; i++) {
    low = Math.imul(low ^ bytes[i]!, 0x01000193) >>> 0;
    high = Math.imul(high ^ bytes[i]! ^ (low & 0xff), 0x01000193) >>> 0;
  }
  return (high & 0x1f_ffff) * 2 ** 32 + low;
}

function mixedNumber(digest: number, value: number): number {
  numberBytes.setFloat64(0, value);
  return mixed(digest, numberView, 0, 8);
}
const numberBytes = new DataView(new ArrayBuffer(8));
const numberView = new Uint8Array(numberBytes.buffer);

const text = new TextEncoder();

export class StateDigest implements Backend {
  readonly inner: MemoryBackend;
  /** Of the changes of the entry in hand. */
  #digest = 0x811c9dc5;
  readonly #ended: (index: number, term: number, digest: number) => void;
  #main = 0;
  #sub = 0;

  /** `ended` hears of every entry, with the digest of its changes alone. */
  constructor(inner: MemoryBackend, ended: (index: number, term: number, digest: number) => void) {
    this.inner = inner;
    this.#ended = ended;
  }

  get consistentIndex(): number {
    return this.inner.consistentIndex;
  }
  get term(): number {
    return this.inner.term;
  }
  get flushedIndex(): number {
    return this.inner.flushedIndex;
  }
  get overlayBytes(): number {
    return this.inner.overlayBytes;
  }
  get isFull(): boolean {
    return this.inner.isFull;
  }
  get recordBlock(): Uint8Array {
    return this.inner.recordBlock;
  }

  #note(bytes: Uint8Array): void {
    this.#digest = mixed(mixedNumber(this.#digest, bytes.length), bytes, 0, bytes.length);
  }

  put(bucket: SmallBucket, key: Uint8Array, value: Uint8Array): void {
    this.#note(text.encode(bucket));
    this.#note(key);
    this.#note(value);
    this.inner.put(bucket, key, value);
  }

  delete(bucket: SmallBucket, key: Uint8Array): void {
    this.#note(text.encode(bucket));
    this.#note(key);
    this.inner.delete(bucket, key);
  }

  get(bucket: SmallBucket, key: Uint8Array): Uint8Array | undefined {
    return this.inner.get(bucket, key);
  }

  entries(bucket: SmallBucket): BackendEntry[] {
    return this.inner.entries(bucket);
  }

  beginRecord(main: number, sub: number, tombstone: boolean, valueBytesMax: number): number {
    this.#main = main;
    this.#sub = sub * 2 + (tombstone ? 1 : 0);
    return this.inner.beginRecord(main, sub, tombstone, valueBytesMax);
  }

  endRecord(end: number): void {
    this.#digest = mixedNumber(mixedNumber(this.#digest, this.#main), this.#sub);
    this.#digest = mixed(this.#digest, this.inner.recordBlock, 0, end);
    this.inner.endRecord(end);
  }

  readRecord(main: number, sub: number, tombstone: boolean, into: RecordView): boolean {
    return this.inner.readRecord(main, sub, tombstone, into);
  }

  scanRecords(position: ScanPosition, limits: ScanLimits, visitor: RecordVisitor): boolean {
    return this.inner.scanRecords(position, limits, visitor);
  }

  endEntry(index: number, term: number, confState?: Uint8Array): void {
    if (confState !== undefined) this.#note(confState);
    const digest = this.#digest;
    this.#digest = 0x811c9dc5;
    this.inner.endEntry(index, term, confState);
    this.#ended(index, term, digest);
  }

  commit(): void {
    this.inner.commit();
  }
  flush(): Promise<void> {
    return this.inner.flush();
  }
  room(): Promise<void> {
    return this.inner.room();
  }
  sizes(): BackendSizes {
    return this.inner.sizes();
  }
  close(): Promise<void> {
    return this.inner.close();
  }
}

/** A digest of all that a backend holds. */
export function wholeDigest(backend: Backend, buckets: readonly SmallBucket[]): number {
  let digest = 0x811c9dc5;
  for (const bucket of buckets) {
    for (const { key, value } of backend.entries(bucket)) {
      digest = mixed(mixedNumber(digest, key.length), key, 0, key.length);
      digest = mixed(mixedNumber(digest, value.length), value, 0, value.length);
    }
  }
  const position = { main: 0, sub: 0 };
  const limits = { records: 1 << 20, bytes: 1 << 30 };
  const visit = (main: number, sub: number, dead: boolean, bytes: Uint8Array, start: number, end: number): void => {
    digest = mixed(mixedNumber(mixedNumber(digest, main), sub * 2 + (dead ? 1 : 0)), bytes, start, end);
  };
  while (backend.scanRecords(position, limits, { visit })) continue;
  return digest;
}
