/**
 * Answers one Range: reads the records in slices and writes the RangeResponse's fields into a reply batch.
 * On the plain path the record's bytes go from the store to the reply as they are; sorted and filtered ranges look
 * into them, and a sorted one holds them until it knows their order.
 *
 *   the caller writes the header → start → step until true (kvs, then more and count)
 *
 * One instance serves one range at a time and is used again.
 */
import type { ReplyBatchWriter } from "../native/index.js";
import { SortOrder, SortTarget, writeVarint } from "../proto/index.js";
import {
  KeyValueReader,
  RevisionStatus,
  type MvccStore,
  type RangeQuery,
  type RangeScan,
  type RangeSink,
  type SliceLimits,
} from "../storage/mvcc/index.js";
import { emptyRecordView } from "../storage/backend/index.js";
import { writeDelimited, writeWithoutValue } from "./response.js";
import { RecordSorter } from "./record-sorter.js";
import type { RangeFields } from "./requests.js";

const kvsTag = 0x12;
/** Counting a key of the index costs so much less than reading its record. */
const keysCountedPerRead = 32;

export class RangeReader implements RangeSink {
  readonly #store: MvccStore;
  readonly #view = emptyRecordView();
  readonly #scan: RangeScan;
  readonly #kv = new KeyValueReader();
  readonly #sorter = new RecordSorter();
  readonly #query: RangeQuery = {
    bytes: new Uint8Array(0),
    keyStart: 0,
    keyEnd: 0,
    endStart: 0,
    endEnd: 0,
    revision: 0,
    limit: 0,
    count: true,
    countOnly: false,
    keysOnly: false,
  };
  readonly #writer: ReplyBatchWriter;
  #at = 0;
  #endMax = 0;
  #overflowed = false;
  #worked = 0;
  // Of the request: the buffer it was read from may be gone when a later slice runs.
  #limit = 0;
  #sorts = false;
  #dropsValue = false;
  #filters = false;
  #minMod = 0;
  #maxMod = 0;
  #minCreate = 0;
  #maxCreate = 0;
  #matched = 0;
  #written = 0;
  #scanned = false;
  /** A single key was read by `start` itself. */
  #complete = false;

  constructor(store: MvccStore, writer: ReplyBatchWriter) {
    this.#store = store;
    this.#scan = store.newRangeScan();
    this.#writer = writer;
  }

  /** Where the response ends so far, in the writer's bytes. */
  get at(): number {
    return this.#at;
  }

  /** The response has become longer than may be sent; what follows was left out. */
  get overflowed(): boolean {
    return this.#overflowed;
  }

  /** What the last `step` has cost, in records read. */
  get worked(): number {
    return this.#worked;
  }

  /** The revision that is read. */
  get revision(): number {
    return this.#scan.revision;
  }

  /** Records in the response so far. */
  get written(): number {
    return this.#written;
  }

  /**
   * Pins the revision: `latest` is read where the request names none. Anything but Ok: there is nothing to read.
   * The response goes to `at` of the writer's bytes, behind its header, and not beyond `endMax`.
   */
  start(fields: RangeFields, latest: number, at: number, endMax: number): RevisionStatus {
    this.#at = at;
    this.#endMax = endMax;
    this.#overflowed = false;
    if (fields.singleKey && !fields.countOnly && !fields.keysOnly && !fields.hasRevisionFilters) {
      return this.#readKey(fields, latest);
    }
    this.#complete = false;
    const query = this.#query;
    query.bytes = fields.bytes;
    query.keyStart = fields.keyStart;
    query.keyEnd = fields.keyEnd;
    query.endStart = fields.endStart;
    query.endEnd = fields.endEnd;
    query.revision = fields.revision > 0 ? fields.revision : latest;
    query.countOnly = fields.countOnly;
    query.keysOnly = fields.keysOnly && fields.sortTarget !== SortTarget.VALUE;
    this.#limit = Math.max(0, fields.limit);
    this.#sorts = !fields.countOnly && fields.needsSort;
    this.#filters = fields.hasRevisionFilters;
    this.#dropsValue = fields.keysOnly && !query.keysOnly;
    this.#minMod = fields.minModRevision;
    this.#maxMod = fields.maxModRevision;
    this.#minCreate = fields.minCreateRevision;
    this.#maxCreate = fields.maxCreateRevision;
    query.limit = this.#storeLimit(fields);
    this.#matched = this.#written = 0;
    this.#scanned = false;
    if (this.#sorts) {
      this.#sorter.reset(fields.sortTarget, fields.sortOrder === SortOrder.DESCEND, this.#limit);
    }
    return this.#scan.start(query);
  }

  /** The common case, without a scan: one key's record, or none. */
  #readKey(fields: RangeFields, latest: number): RevisionStatus {
    const revision = fields.revision > 0 ? fields.revision : latest;
    const status = this.#store.checkRevision(revision);
    if (status !== RevisionStatus.Ok) return status;
    this.#complete = true;
    this.#dropsValue = false;
    this.#written = 0;
    const view = this.#view;
    if (!this.#store.readKey(fields.bytes, fields.keyStart, fields.keyEnd, revision, view)) return status;
    this.#write(view.bytes, view.start, view.end);
    this.#writer.ensure(this.#at + 2);
    this.#writer.bytes[this.#at++] = 0x20;
    this.#writer.bytes[this.#at++] = 1;
    return status;
  }

  /** How many records the store must give at most; 0: all. */
  #storeLimit(fields: RangeFields): number {
    if (this.#limit === 0 || !fields.defaultOrder || this.#filters) return 0;
    // A sort by another target without an order looks at the first limit + 1 keys only, as etcd does.
    return this.#sorts ? Math.min(this.#limit + 1, Number.MAX_SAFE_INTEGER) : this.#limit;
  }

  /** Does one slice; true when the response is complete and ends at `at`. */
  step(limits: SliceLimits): boolean {
    this.#worked = 1;
    if (this.#complete) return true;
    if (!this.#scanned) {
      if (!this.#stepScan(limits)) return false;
      this.#scanned = true;
      if (this.#sorts) this.#sorter.seal();
    }
    if (this.#sorts && !this.#writeSorted(limits)) return false;
    this.#writeTail();
    return true;
  }

  #stepScan(limits: SliceLimits): boolean {
    const counts = this.#onlyCounts;
    const isDone = this.#scan.next(this, counts ? countingLimits(limits) : limits);
    this.#worked += counts ? Math.ceil(this.#scan.visited / keysCountedPerRead) : this.#scan.visited;
    return isDone;
  }

  /** All records are read: the scan looks for how many more there are. */
  get #onlyCounts(): boolean {
    const { limit, countOnly } = this.#query;
    return countOnly || (limit > 0 && this.#scan.returned >= limit);
  }

  /** Takes one record from the store. */
  record(bytes: Uint8Array, start: number, end: number): void {
    if (this.#filters && !this.#passes(bytes, start, end)) return;
    this.#matched++;
    if (this.#sorts) this.#sorter.add(bytes, start, end);
    else if (this.#limit === 0 || this.#written < this.#limit) this.#write(bytes, start, end);
  }

  #passes(bytes: Uint8Array, start: number, end: number): boolean {
    const kv = this.#kv;
    kv.read(bytes, start, end);
    if (this.#maxMod !== 0 && kv.modRevision > this.#maxMod) return false;
    if (this.#minMod !== 0 && kv.modRevision < this.#minMod) return false;
    if (this.#maxCreate !== 0 && kv.createRevision > this.#maxCreate) return false;
    return this.#minCreate === 0 || kv.createRevision >= this.#minCreate;
  }

  #write(bytes: Uint8Array, start: number, end: number): void {
    this.#written++;
    this.#overflowed ||= this.#at + 11 + end - start > this.#endMax;
    if (this.#overflowed) return;
    if (this.#dropsValue) this.#at = writeWithoutValue(this.#writer, this.#at, kvsTag, bytes, start, end, this.#kv);
    else this.#at = writeDelimited(this.#writer, this.#at, kvsTag, bytes, start, end);
  }

  #writeSorted(limits: SliceLimits): boolean {
    const sorter = this.#sorter;
    const bytesEnd = this.#at + limits.bytes;
    for (let count = 0; count < limits.keys && this.#at < bytesEnd; count++, this.#worked++) {
      if (this.#limit !== 0 && this.#written === this.#limit) return true;
      if (!sorter.next()) return true;
      this.#write(sorter.bytes, sorter.start, sorter.end);
    }
    return false;
  }

  #writeTail(): void {
    this.#writer.ensure(this.#at + 13);
    const { bytes } = this.#writer;
    let at = this.#at;
    const cut = this.#filters || this.#sorts;
    if (cut ? this.#limit !== 0 && this.#matched > this.#limit : this.#scan.more) {
      bytes[at++] = 0x18;
      bytes[at++] = 1;
    }
    if (this.#scan.count > 0) {
      bytes[at++] = 0x20;
      at = writeVarint(this.#scan.count, bytes, at);
    }
    this.#at = at;
  }
}

function countingLimits(limits: SliceLimits): SliceLimits {
  return { keys: limits.keys * keysCountedPerRead, bytes: limits.bytes };
}
