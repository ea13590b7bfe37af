/**
 * Evaluates one Compare of a transaction: a single key at once, a range in slices.
 * Every key of a range must satisfy; an empty range counts as a missing key, which has zero revisions, version and
 * lease, but no value.
 */
import { CompareResult, CompareTarget } from "../proto/index.js";
import { emptyRecordView } from "../storage/backend/index.js";
import {
  KeyValueReader,
  RevisionStatus,
  type MvccStore,
  type RangeQuery,
  type RangeScan,
  type RangeSink,
  type SliceLimits,
} from "../storage/mvcc/index.js";
import { CompareFields } from "./requests.js";

/** Bytewise, as Go's bytes.Compare. */
function compareBytes(
  a: Uint8Array,
  aStart: number,
  aEnd: number,
  b: Uint8Array,
  bStart: number,
  bEnd: number,
): number {
  const length = Math.min(aEnd - aStart, bEnd - bStart);
  for (let i = 0; i < length; i++) {
    const difference = a[aStart + i]! - b[bStart + i]!;
    if (difference !== 0) return difference;
  }
  return aEnd - aStart - (bEnd - bStart);
}

export class CompareEvaluator implements RangeSink {
  readonly #store: MvccStore;
  readonly #scan: RangeScan;
  readonly #fields = new CompareFields();
  readonly #kv = new KeyValueReader();
  readonly #view = emptyRecordView();
  readonly #query: RangeQuery = {
    bytes: new Uint8Array(0),
    keyStart: 0,
    keyEnd: 0,
    endStart: 0,
    endEnd: 0,
    revision: 0,
    limit: 0,
    count: false,
    countOnly: false,
    keysOnly: false,
  };
  #result = false;
  #done = false;

  constructor(store: MvccStore) {
    this.#store = store;
    this.#scan = store.newRangeScan();
  }

  /** Valid once `step` has returned true. */
  get result(): boolean {
    return this.#result;
  }

  /** Keys that the last `step` has looked at. */
  get worked(): number {
    return this.#fields.singleKey ? 1 : this.#scan.visited;
  }

  /** Starts on the Compare at `bytes[start, end)`, which must stay until it is done. It is read at `revision`. */
  start(bytes: Uint8Array, start: number, end: number, revision: number): void {
    this.#fields.read(bytes, start, end);
    this.#done = true;
    if (this.#fields.singleKey) {
      this.#result = this.#compareKey(revision);
      return;
    }
    const { keyStart, keyEnd, endStart, endEnd } = this.#fields;
    Object.assign(this.#query, { bytes, keyStart, keyEnd, endStart, endEnd, revision, keysOnly: this.#indexSuffices });
    this.#result = this.#scan.start(this.#query) === RevisionStatus.Ok;
    this.#done = !this.#result;
  }

  /** Does one slice; true when the result is known. */
  step(limits: SliceLimits): boolean {
    if (this.#done) return true;
    this.#done = this.#scan.next(this, limits) || !this.#result;
    if (this.#done && this.#scan.returned === 0) this.#result = this.#compareMissing();
    return this.#done;
  }

  record(bytes: Uint8Array, start: number, end: number): void {
    if (!this.#result) return;
    this.#kv.read(bytes, start, end);
    this.#result = this.#compareRecord();
  }

  get #indexSuffices(): boolean {
    const { target } = this.#fields;
    return target === CompareTarget.VERSION || target === CompareTarget.CREATE || target === CompareTarget.MOD;
  }

  #compareKey(revision: number): boolean {
    const { bytes, keyStart, keyEnd, target } = this.#fields;
    if (!this.#indexSuffices) {
      if (!this.#store.readKey(bytes, keyStart, keyEnd, revision, this.#view)) return this.#compareMissing();
      this.#kv.readView(this.#view);
      return this.#compareRecord();
    }
    if (!this.#store.findKey(bytes, keyStart, keyEnd, revision)) return this.#compareMissing();
    switch (target) {
      case CompareTarget.VERSION:
        return this.#compareNumber(this.#store.foundVersion);
      case CompareTarget.CREATE:
        return this.#compareNumber(this.#store.foundCreateRevision);
      default:
        return this.#compareNumber(this.#store.foundModRevision);
    }
  }

  #compareMissing(): boolean {
    if (this.#fields.target === CompareTarget.VALUE) return false;
    if (this.#fields.target === CompareTarget.LEASE) return this.#compareLease(0, 0);
    return this.#compareNumber(0);
  }

  #compareRecord(): boolean {
    const kv = this.#kv;
    const { bytes, target, valueStart, valueEnd } = this.#fields;
    switch (target) {
      case CompareTarget.VERSION:
        return this.#compareNumber(kv.version);
      case CompareTarget.CREATE:
        return this.#compareNumber(kv.createRevision);
      case CompareTarget.MOD:
        return this.#compareNumber(kv.modRevision);
      case CompareTarget.VALUE:
        return this.#judge(compareBytes(kv.bytes, kv.valueStart, kv.valueEnd, bytes, valueStart, valueEnd));
      case CompareTarget.LEASE:
        return this.#compareLease(kv.leaseLow, kv.leaseHigh | 0);
      default:
        return this.#judge(0);
    }
  }

  #compareNumber(actual: number): boolean {
    // An unknown target compares nothing: equal.
    return this.#judge(this.#indexSuffices ? actual - this.#fields.operand : 0);
  }

  /** Lease IDs use all 64 bits; `high` is signed. */
  #compareLease(low: number, high: number): boolean {
    const { operandLow, operandHigh } = this.#fields;
    return this.#judge(high === operandHigh ? low - operandLow : high - operandHigh);
  }

  #judge(order: number): boolean {
    switch (this.#fields.result) {
      case CompareResult.EQUAL:
        return order === 0;
      case CompareResult.GREATER:
        return order > 0;
      case CompareResult.LESS:
        return order < 0;
      case CompareResult.NOT_EQUAL:
        return order !== 0;
      default:
        return true;
    }
  }
}
