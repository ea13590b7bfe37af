/**
 * Puts the records of a range in the order that a request asks for, in pieces: records gather in runs, each run is
 * sorted when it is full, and `next` merges the runs. No step takes longer than sorting one run.
 * With a limit, only so many records of each run are kept: enough for the first `limit` of all.
 * Ties keep the order in which the records came.
 */
import { SortTarget } from "../proto/index.js";
import { KeyValueReader } from "../storage/mvcc/index.js";

const runRecordsMax = 2048;
const runBytesMax = 1 << 20;

/** Records of one run: record i is `bytes[starts[i], ends[i])`, what it is sorted by `texts` or `numbers`. */
class Run {
  /** Runs come one after another. */
  readonly sequence: number;
  bytes = Buffer.alloc(1 << 14);
  length = 0;
  count = 0;
  readonly starts = new Uint32Array(runRecordsMax);
  readonly ends = new Uint32Array(runRecordsMax);
  readonly numbers = new Float64Array(runRecordsMax);
  readonly textStarts = new Uint32Array(runRecordsMax);
  readonly textEnds = new Uint32Array(runRecordsMax);
  /** Once sorted: the records to give, in order. */
  order = new Uint32Array(0);
  /** How many of `order` are given. */
  given = 0;

  constructor(sequence: number) {
    this.sequence = sequence;
  }

  get full(): boolean {
    return this.count === runRecordsMax || this.length >= runBytesMax;
  }

  append(bytes: Uint8Array, start: number, end: number): void {
    const needed = this.length + end - start;
    if (needed > this.bytes.length) {
      const grown = Buffer.alloc(Math.max(needed, this.bytes.length * 2));
      this.bytes.copy(grown, 0, 0, this.length);
      this.bytes = grown;
    }
    this.bytes.set(bytes.subarray(start, end), this.length);
    this.starts[this.count] = this.length;
    this.length = needed;
    this.ends[this.count] = needed;
    this.count++;
  }

  /** Drops the bytes of records that are not in `order`. */
  compact(): void {
    let size = 0;
    for (const i of this.order) size += this.ends[i]! - this.starts[i]!;
    const kept = Buffer.alloc(size);
    let at = 0;
    for (const i of this.order) {
      const start = this.starts[i]!;
      const moved = at - start;
      at += this.bytes.copy(kept, at, start, this.ends[i]);
      this.starts[i] = start + moved;
      this.ends[i] = at;
      this.textStarts[i] = this.textStarts[i]! + moved;
      this.textEnds[i] = this.textEnds[i]! + moved;
    }
    this.bytes = kept;
    this.length = size;
  }
}

export class RecordSorter {
  #target = 0;
  #sign = 1;
  #limit = 0;
  /** Takes records; null until there is one. */
  #filling: Run | null = null;
  /** A heap of sorted runs, the one with the first record on top. */
  readonly #runs: Run[] = [];
  readonly #reader = new KeyValueReader();
  #records = 0;

  // The record that `next` moved to.
  bytes: Uint8Array = new Uint8Array(0);
  start = 0;
  end = 0;

  /** Starts over. `limit` 0: all records are wanted. */
  reset(target: number, descending: boolean, limit: number): void {
    this.#target = target;
    this.#sign = descending ? -1 : 1;
    this.#limit = limit;
    this.#filling = null;
    this.#runs.length = 0;
    this.#records = 0;
  }

  /** Records added since `reset`. */
  get records(): number {
    return this.#records;
  }

  /** Copies one marshalled mvccpb.KeyValue. */
  add(bytes: Uint8Array, start: number, end: number): void {
    const run = (this.#filling ??= new Run(this.#runs.length));
    const i = run.count;
    run.append(bytes, start, end);
    this.#records++;
    this.#reader.read(run.bytes, run.starts[i]!, run.ends[i]!);
    this.#extract(run, i);
    if (run.full) this.#sealRun(run);
  }

  /** No record follows; `next` may be called. */
  seal(): void {
    if (this.#filling !== null) this.#sealRun(this.#filling);
    for (let i = (this.#runs.length >>> 1) - 1; i >= 0; i--) this.#sink(i);
  }

  /** Moves to the next record in order; false after the last. */
  next(): boolean {
    const run = this.#runs[0];
    if (run === undefined) return false;
    const i = run.order[run.given++]!;
    this.bytes = run.bytes;
    this.start = run.starts[i]!;
    this.end = run.ends[i]!;
    if (run.given === run.order.length) {
      const last = this.#runs.pop()!;
      if (this.#runs.length > 0) this.#runs[0] = last;
    }
    this.#sink(0);
    return true;
  }

  #extract(run: Run, i: number): void {
    const reader = this.#reader;
    switch (this.#target) {
      case SortTarget.VERSION:
        run.numbers[i] = reader.version;
        break;
      case SortTarget.CREATE:
        run.numbers[i] = reader.createRevision;
        break;
      case SortTarget.MOD:
        run.numbers[i] = reader.modRevision;
        break;
      case SortTarget.VALUE:
        run.textStarts[i] = reader.valueStart;
        run.textEnds[i] = reader.valueEnd;
        break;
      default:
        run.textStarts[i] = reader.keyStart;
        run.textEnds[i] = reader.keyEnd;
    }
  }

  get #byText(): boolean {
    return this.#target === SortTarget.VALUE || this.#target === SortTarget.KEY;
  }

  #compare(a: Run, i: number, b: Run, j: number): number {
    if (!this.#byText) return this.#sign * (a.numbers[i]! - b.numbers[j]!);
    return this.#sign * a.bytes.compare(b.bytes, b.textStarts[j]!, b.textEnds[j]!, a.textStarts[i]!, a.textEnds[i]!);
  }

  #sealRun(run: Run): void {
    const order = new Uint32Array(run.count);
    for (let i = 0; i < order.length; i++) order[i] = i;
    order.sort((i, j) => this.#compare(run, i, run, j));
    if (this.#limit > 0 && order.length > this.#limit) {
      run.order = order.slice(0, this.#limit);
      run.compact();
    } else run.order = order;
    this.#runs.push(run);
    this.#filling = null;
  }

  /** Restores the heap below slot `at`. */
  #sink(at: number): void {
    const runs = this.#runs;
    for (;;) {
      let first = at;
      for (let child = 2 * at + 1; child <= 2 * at + 2 && child < runs.length; child++) {
        if (this.#before(runs[child]!, runs[first]!)) first = child;
      }
      if (first === at) return;
      const run = runs[at]!;
      runs[at] = runs[first]!;
      runs[first] = run;
      at = first;
    }
  }

  #before(a: Run, b: Run): boolean {
    const order = this.#compare(a, a.order[a.given]!, b, b.order[b.given]!);
    return order < 0 || (order === 0 && a.sequence < b.sequence);
  }
}
