/**
 * The watchers that are behind: held while their stream takes nothing, waiting to be read up from history, or being
 * read up by one of the passes under way. Those who wait are grouped by how far they are behind, so that a few
 * revisions need not wait for a million.
 */
import { CatchUp, type CatchUpSurroundings } from "./catch-up.js";
import type { RangeIndex } from "./range-index.js";
import type { WatchStream } from "./watch-stream.js";
import { emptyList, none, WatcherState, type Watcher, type WatcherTable } from "./watcher-table.js";

/** Bytes that a pass sends in a turn: well below a millisecond. */
const sendBytesMax = 1 << 20;
/** Watchers that are fewer revisions behind are read up apart from those that are more. */
const nearRevisions = 10_000;
/** Passes at a time for watchers that are further behind. */
const farPassesMax = 3;

interface Pass {
  readonly catchUp: CatchUp;
  readonly near: boolean;
}

export class CatchUps {
  readonly #surroundings: CatchUpSurroundings;
  readonly #watchers: WatcherTable;
  /** Who waits to be read up, near or far. */
  readonly #pending = emptyList();
  readonly #passes: Pass[] = [];
  /** Of turns, modulo 2^32; it starts shortly before it begins anew, so that this is nothing rare. */
  #sequence = 2 ** 32 - 13;

  constructor(behind: Omit<CatchUpSurroundings, "held" | "sent" | "turnOf">) {
    this.#watchers = behind.watchers;
    const held = (watcher: Watcher): void => this.#keep(watcher);
    const sent = (watcher: Watcher): void => this.#goesLast(watcher);
    this.#surroundings = { ...behind, held, sent, turnOf: (watcher) => this.#turnOf(watcher) };
  }

  get hasWork(): boolean {
    return this.#pending.first !== none || this.#passes.length > 0;
  }
  /** Events gathered and not yet sent. */
  get pendingEvents(): number {
    return this.#passes.reduce((sum, { catchUp }) => sum + catchUp.pendingEvents, 0);
  }

  /** The watcher is to be read up from its `minRevision` on. It may go meanwhile. */
  wait(watcher: Watcher): void {
    this.#goesLast(watcher);
    this.#queue(watcher);
  }

  /** The watcher waits from now on until its stream takes what it was sent, and is read up then. */
  hold(watcher: Watcher): void {
    this.#goesLast(watcher);
    this.#keep(watcher);
  }

  /** The stream has taken what it was sent. */
  release(stream: WatchStream): void {
    for (let watcher = stream.held.first; watcher !== none; watcher = stream.held.first) {
      this.#watchers.unlink(stream.held, watcher);
      this.#queue(watcher);
    }
  }

  /** A watcher that waits, or is held, waits no longer. */
  forget(watcher: Watcher): void {
    const watchers = this.#watchers;
    const isHeld = watchers.state(watcher) === WatcherState.Held;
    watchers.unlink(isHeld ? watchers.stream(watcher).held : this.#pending, watcher);
  }

  /** A whole group is to be read up from `revision` on; costs nothing for each of its watchers. */
  readUp(group: RangeIndex, revision: number): void {
    this.#passes.push({ catchUp: new CatchUp(this.#surroundings, group, revision), near: false });
  }

  /** One slice for those who are near, and one for some of those who are far. */
  work(): void {
    if (this.#pending.first !== none) this.#startPasses();
    const near = this.#passes.find((pass) => pass.near);
    if (near !== undefined) this.#step(near);
    const far = this.#passes.find((pass) => !pass.near);
    if (far === undefined) return;
    this.#step(far);
    const at = this.#passes.indexOf(far);
    if (at !== -1) this.#passes.push(...this.#passes.splice(at, 1));
  }

  #goesLast(watcher: Watcher): void {
    this.#watchers.setWaitsSince(watcher, ++this.#sequence);
  }

  /** Of two, the one with the smaller number had no turn for longer; also where the sequence has begun anew. */
  #turnOf(watcher: Watcher): number {
    return (this.#watchers.waitsSince(watcher) - this.#sequence - 1) >>> 0;
  }

  /** Likewise, and it does not lose its turn to those who have waited less. */
  #keep(watcher: Watcher): void {
    const watchers = this.#watchers;
    watchers.setState(watcher, WatcherState.Held);
    watchers.append(watchers.stream(watcher).held, watcher);
  }

  #queue(watcher: Watcher): void {
    this.#watchers.setState(watcher, WatcherState.Pending);
    this.#watchers.append(this.#pending, watcher);
  }

  #startPasses(): void {
    const nearRuns = this.#passes.some((pass) => pass.near);
    const farRuns = this.#passes.filter((pass) => !pass.near).length;
    if (!nearRuns) this.#startPass(true);
    if (farRuns < farPassesMax) this.#startPass(false);
  }

  /** Reads up those who wait and are near, or far. */
  #startPass(near: boolean): void {
    const watchers = this.#watchers;
    const { currentRevision } = this.#surroundings.store;
    const group = this.#surroundings.indices.open();
    let from = Infinity;
    for (let watcher = this.#pending.first, next: Watcher = none; watcher !== none; watcher = next) {
      next = watchers.next(watcher);
      const minRevision = watchers.minRevision(watcher);
      if (currentRevision - minRevision <= nearRevisions !== near) continue;
      watchers.unlink(this.#pending, watcher);
      watchers.setState(watcher, WatcherState.Indexed);
      group.add(watcher);
      from = Math.min(from, minRevision);
    }
    if (group.size === 0) return this.#surroundings.indices.close(group);
    this.#passes.push({ catchUp: new CatchUp(this.#surroundings, group, from), near });
  }

  #step(pass: Pass): void {
    if (!pass.catchUp.step(sendBytesMax)) return;
    this.#passes.splice(this.#passes.indexOf(pass), 1);
    this.#surroundings.joined(pass.catchUp.index);
  }
}
