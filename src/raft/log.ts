/**
 * The Raft log: what is in memory, how much of it is durable here, committed, and applied (paper §5.3).
 * Entries since the last compaction all stay in memory, so that storage is only written.
 *
 * Invariants: prevIndex <= applied <= applying <= committed <= lastIndex, save that `applying` may trail a
 * snapshot that is being installed; stable <= inProgress <= lastIndex; entries up to `stable` are on this
 * member's disk and no write under way will replace them.
 */
import { assert, EntryType, type EntryBatch } from "../base/index.js";
import { EntryDeque, unknownTerm } from "./entry-deque.js";
import { encodedSize } from "./entry-size.js";
import type { Snapshot } from "./types.js";

export class RaftLog {
  readonly #entries: EntryDeque;
  #committed: number;
  #applying: number;
  #applied: number;
  #stable: number;
  #inProgress: number;
  #snapshot: Snapshot | null = null;
  #snapshotInProgress = false;
  readonly #applyingSizeMax: number;
  #applyingSize = 0;
  #applyingPaused = false;

  /** A log that starts after a compacted entry and holds nothing yet; all of it counts as applied. */
  constructor(fields: { prevIndex: number; prevTerm: number; applyingSizeMax: number }) {
    this.#entries = new EntryDeque(fields.prevIndex, fields.prevTerm);
    this.#committed = fields.prevIndex;
    this.#applying = fields.prevIndex;
    this.#applied = fields.prevIndex;
    this.#stable = fields.prevIndex;
    this.#inProgress = fields.prevIndex;
    this.#applyingSizeMax = fields.applyingSizeMax;
  }

  /** The last compacted entry. */
  get prevIndex(): number {
    return this.#entries.prevIndex;
  }

  get firstIndex(): number {
    return this.#entries.prevIndex + 1;
  }

  get lastIndex(): number {
    return this.#entries.lastIndex;
  }

  get lastTerm(): number {
    return this.#entries.lastTerm;
  }

  get committed(): number {
    return this.#committed;
  }

  get applied(): number {
    return this.#applied;
  }

  /** The highest entry known to be on this member's disk. */
  get stable(): number {
    return this.#stable;
  }

  /** Adds entries that were read from this member's disk, before anything else happens. */
  load(entries: readonly EntryBatch[]): void {
    for (const batch of entries) this.#entries.push(batch);
    this.#stable = this.lastIndex;
    this.#inProgress = this.lastIndex;
  }

  /** The term of entry `index`, 0 when it is compacted or not there yet. */
  termOrZero(index: number): number {
    const term = this.#entries.termAt(index);
    return term === unknownTerm ? 0 : term;
  }

  /** Whether the term of `index` is known, so that an append after it can be sent. */
  hasTerm(index: number): boolean {
    return this.#entries.termAt(index) !== unknownTerm;
  }

  /** Whether entry `index` is here with `term`; by the Log Matching Property all before it match, too (§5.3). */
  matches(index: number, term: number): boolean {
    return this.#entries.termAt(index) === term;
  }

  /** Whether a log that ends so may win this member's vote (paper §5.4.1). */
  isUpToDate(lastIndex: number, lastTerm: number): boolean {
    return lastTerm > this.lastTerm || (lastTerm === this.lastTerm && lastIndex >= this.lastIndex);
  }

  findConflict(entries: readonly EntryBatch[]): number {
    return this.#entries.findConflict(entries);
  }

  findConflictByTerm(index: number, term: number): number {
    return this.#entries.findConflictByTerm(index, term);
  }

  /** Adds entries from `from` on, where they start or further in; what was there from `from` on is replaced. */
  append(entries: readonly EntryBatch[], from: number): void {
    assert(from > this.#committed, "committed entries never change (§5.4)");
    assert(from <= this.lastIndex + 1, "log gap");
    this.#entries.truncateFrom(from);
    this.#stable = Math.min(this.#stable, from - 1);
    this.#inProgress = Math.min(this.#inProgress, from - 1);
    for (const batch of entries) {
      if (batch.lastIndex < from) continue;
      this.#entries.push(batch.firstIndex >= from ? batch : batch.slice(from, batch.lastIndex));
    }
  }

  /** The entries from `first` on that fit into `bytesMax`, at least one if there is any. */
  entriesFrom(first: number, bytesMax: number): EntryBatch[] {
    return this.#entries.slice(first, this.lastIndex, bytesMax);
  }

  /** Moves the commit index forward; never back. */
  commitTo(index: number): void {
    if (index <= this.#committed) return;
    assert(index <= this.lastIndex, "commit index beyond the log");
    this.#committed = index;
  }

  /** Whether a configuration change is committed and not applied yet. */
  hasUnappliedConfChange(): boolean {
    return this.#entries.hasType(this.#applied + 1, this.#committed, (type) => type !== EntryType.Normal);
  }

  // Durability: what is handed out for writing, and what is known to be written.

  /** Whether some entries are not known to be on disk, written out or not. */
  get hasUnstable(): boolean {
    return this.lastIndex > this.#stable;
  }

  get hasNextUnstable(): boolean {
    return this.lastIndex > this.#inProgress;
  }

  /** The entries that have not been handed out for writing. */
  nextUnstable(): EntryBatch[] {
    return this.#entries.slice(this.#inProgress + 1, this.lastIndex, Number.POSITIVE_INFINITY);
  }

  get nextUnstableSnapshot(): Snapshot | null {
    return this.#snapshotInProgress ? null : this.#snapshot;
  }

  get hasPendingSnapshot(): boolean {
    return this.#snapshot !== null;
  }

  /** All that `nextUnstable` and `nextUnstableSnapshot` return is now being written. */
  acceptUnstable(): void {
    this.#inProgress = this.lastIndex;
    this.#snapshotInProgress = this.#snapshot !== null;
  }

  /**
   * Everything up to (index, term) is on disk. False when this is about entries that were replaced meanwhile.
   * The caller has checked that the term has not changed since the write was handed out.
   */
  stableTo(index: number, term: number): boolean {
    if (index <= this.#stable || index > this.lastIndex) return false;
    if (!this.matches(index, term)) return false;
    this.#stable = index;
    this.#inProgress = Math.max(this.#inProgress, index);
    return true;
  }

  stableSnapshotTo(index: number): void {
    if (this.#snapshot === null || this.#snapshot.index !== index) return;
    this.#snapshot = null;
    this.#snapshotInProgress = false;
  }

  /** Replaces the whole log by a snapshot (paper §7). */
  restore(snapshot: Snapshot): void {
    assert(snapshot.index > this.#committed, "snapshot behind the commit index");
    this.#entries.reset(snapshot.index, snapshot.term);
    this.#committed = snapshot.index;
    this.#stable = snapshot.index;
    this.#inProgress = snapshot.index;
    this.#snapshot = snapshot;
    this.#snapshotInProgress = false;
  }

  // Application.

  /** The last entry that may be applied now. A snapshot goes first. */
  #appliableTo(allowUnstable: boolean): number {
    return allowUnstable ? this.#committed : Math.min(this.#committed, this.#stable);
  }

  hasNextCommitted(allowUnstable: boolean): boolean {
    if (this.#applyingPaused || this.#snapshot !== null) return false;
    return this.#applying < this.#appliableTo(allowUnstable);
  }

  /** The committed entries to apply next, as far as the limit on what is being applied lets them go. */
  nextCommitted(allowUnstable: boolean): EntryBatch[] {
    const room = this.#applyingSizeMax - this.#applyingSize;
    assert(room > 0, "log: applying although the limit is reached");
    return this.#entries.slice(this.#applying + 1, this.#appliableTo(allowUnstable), room);
  }

  /** `entries` are being applied. */
  acceptApplying(entries: readonly EntryBatch[], allowUnstable: boolean): void {
    const index = entries.at(-1)!.lastIndex;
    assert(index <= this.#committed, "only committed entries are applied (§5.3)");
    this.#applying = index;
    this.#applyingSize += encodedSize(entries);
    // Paused at the limit, and when the next entry would cross it: then fewer were handed out than could be.
    this.#applyingPaused = this.#applyingSize >= this.#applyingSizeMax || index < this.#appliableTo(allowUnstable);
  }

  /** Everything up to `index` has been applied; `size` bytes of it were handed out by `acceptApplying`. */
  appliedTo(index: number, size: number): void {
    assert(index >= this.#applied && index <= this.#committed, "applied index out of range");
    this.#applied = index;
    this.#applying = Math.max(this.#applying, index);
    this.#applyingSize = Math.max(0, this.#applyingSize - size);
    this.#applyingPaused = this.#applyingSize >= this.#applyingSizeMax;
  }

  /** Forgets the entries up to `index`, which are applied and durable. Slower followers will need a snapshot. */
  compact(index: number): void {
    assert(index <= this.#applied, "compaction of entries that are not applied");
    assert(index <= this.#stable, "compaction of entries that are not durable");
    if (index > this.prevIndex) this.#entries.compact(index);
  }
}
