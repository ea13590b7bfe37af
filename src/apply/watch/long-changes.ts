/**
 * Who is to be told of a transaction with very many changes. They are found while it is made, a part at a time: when it
 * ends, they are read up from it, and all others have nothing to wait for.
 *
 * Those found leave the synced watchers at once, which misses nothing: no other change can end before this transaction.
 * Whoever becomes synced meanwhile was not there for the parts before, and waits with them.
 */
import { emptyRecordView } from "../../storage/backend/index.js";
import { KeyValueReader, type TxnChanges } from "../../storage/mvcc/index.js";
import type { MatchVisitor, RangeIndex, RangeIndices } from "./range-index.js";
import { WatcherState, type Watcher, type WatcherTable } from "./watcher-table.js";

/** So many a part are taken out one by one, in 2 or 3 ms; when there are more, all synced ones wait. */
const takenMax = 4_096;

export class LongChanges implements MatchVisitor {
  readonly #watchers: WatcherTable;
  readonly #indices: RangeIndices;
  readonly #view = emptyRecordView();
  readonly #kv = new KeyValueReader();
  /** Those found, and groups that wait as a whole; none: no long transaction is open. */
  readonly #groups: RangeIndex[] = [];
  #looked = 0;
  /** Of the change in hand. */
  #revision = 0;
  #isDelete = false;
  readonly #found: Watcher[] = [];

  constructor(watchers: WatcherTable, indices: RangeIndices) {
    this.#watchers = watchers;
    this.#indices = indices;
  }

  /** A long transaction is open, and has been looked at. */
  get isOpen(): boolean {
    return this.#groups.length > 0;
  }

  /** Takes those out of `synced` whom the changes made since the last call concern; false: there are too many. */
  look(changes: TxnChanges, synced: RangeIndex): boolean {
    if (!this.isOpen) this.#groups.push(this.#indices.open());
    const first = this.#looked;
    this.#looked = changes.count;
    let taken = 0;
    for (let change = first; change < changes.count && synced.size > 0; change++) {
      this.#found.length = 0;
      this.#match(changes, change, synced);
      taken += this.#found.length;
      if (taken > takenMax) return false;
      this.#take(synced);
    }
    return true;
  }

  /** The watcher has become synced. */
  add(watcher: Watcher): void {
    this.#watchers.setState(watcher, WatcherState.Indexed);
    this.#groups[0]!.add(watcher);
  }

  /** All of the group wait. */
  addGroup(group: RangeIndex): void {
    this.#groups.push(group);
  }

  /** The transaction has ended: who waits. */
  end(): RangeIndex[] {
    this.#looked = 0;
    return this.#groups.splice(0);
  }

  matched(watcher: Watcher): void {
    const watchers = this.#watchers;
    if (this.#revision < watchers.minRevision(watcher)) return;
    if (watchers.wants(watcher, this.#isDelete)) this.#found.push(watcher);
  }

  #match(changes: TxnChanges, change: number, synced: RangeIndex): void {
    const view = this.#view;
    changes.read(change, view);
    this.#kv.read(view.bytes, view.start, view.end);
    this.#revision = changes.revision;
    this.#isDelete = changes.isDelete(change);
    synced.match(view.bytes, this.#kv.keyStart, this.#kv.keyEnd, this);
  }

  #take(synced: RangeIndex): void {
    for (const watcher of this.#found) {
      synced.delete(watcher);
      this.add(watcher);
    }
  }
}
