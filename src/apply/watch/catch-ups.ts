/**
 * The watchers that are behind: held while their stream takes nothing, waiting to be read up from history, or being
 * read up by one of the passes under way. Those who wait are grouped by how far they are behind, so that a few
 * revisions need not wait for a million.
 */
import { CatchUp, newGroup, type CatchUpSurroundings } from "./catch-up.js";
import type { RangeIndex } from "./range-index.js";
import { forgetBatch, WatcherState, type Watcher, type WatchStream } from "./watcher.js";

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
  #pending: Watcher[] = [];
  readonly #passes: Pass[] = [];
  #sequence = 0;

  constructor(behind: Omit<CatchUpSurroundings, "held" | "sent">) {
    const sent = (watcher: Watcher): void => void (watcher.waitsSince = ++this.#sequence);
    this.#surroundings = { ...behind, held: (watcher) => this.#keep(watcher), sent };
  }

  get hasWork(): boolean {
    return this.#pending.length > 0 || this.#passes.length > 0;
  }
  /** Events gathered and not yet sent. */
  get pendingEvents(): number {
    return this.#passes.reduce((sum, { catchUp }) => sum + catchUp.pendingEvents, 0);
  }

  /** The watcher is to be read up from its `minRevision` on. It may go meanwhile. */
  wait(watcher: Watcher): void {
    watcher.waitsSince = ++this.#sequence;
    this.#queue(watcher);
  }

  /** The watcher waits from now on until its stream takes what it was sent, and is read up then. */
  hold(watcher: Watcher): void {
    watcher.waitsSince = ++this.#sequence;
    this.#keep(watcher);
  }

  /** The stream has taken what it was sent. */
  release(stream: WatchStream): void {
    for (const watcher of stream.held) this.#queue(watcher);
    stream.held = [];
  }

  /** A whole group is to be read up from `revision` on; costs nothing for each of its watchers. */
  readUp(group: RangeIndex<Watcher>, revision: number): void {
    this.#passes.push({ catchUp: new CatchUp(this.#surroundings, group, revision), near: false });
  }

  /** One slice for those who are near, and one for some of those who are far. */
  work(): void {
    if (this.#pending.length > 0) this.#startPasses();
    const near = this.#passes.find((pass) => pass.near);
    if (near !== undefined) this.#step(near);
    const far = this.#passes.find((pass) => !pass.near);
    if (far === undefined) return;
    this.#step(far);
    const at = this.#passes.indexOf(far);
    if (at !== -1) this.#passes.push(...this.#passes.splice(at, 1));
  }

  /** Likewise, and it does not lose its turn to those who have waited less. */
  #keep(watcher: Watcher): void {
    watcher.state = WatcherState.Held;
    watcher.index = null;
    watcher.stream.held.push(watcher);
  }

  #queue(watcher: Watcher): void {
    watcher.state = WatcherState.Pending;
    watcher.index = null;
    this.#pending.push(watcher);
  }

  #startPasses(): void {
    const { currentRevision } = this.#surroundings.store;
    const near: Watcher[] = [];
    const far: Watcher[] = [];
    for (const watcher of this.#pending) {
      if (watcher.state !== WatcherState.Pending) continue;
      (currentRevision - watcher.minRevision <= nearRevisions ? near : far).push(watcher);
    }
    this.#pending = [];
    const nearRuns = this.#passes.some((pass) => pass.near);
    const farRuns = this.#passes.filter((pass) => !pass.near).length;
    if (near.length > 0 && !nearRuns) this.#startPass(near, true);
    else this.#pending.push(...near);
    if (far.length > 0 && farRuns < farPassesMax) this.#startPass(far, false);
    else this.#pending.push(...far);
  }

  #startPass(watchers: readonly Watcher[], near: boolean): void {
    const group = newGroup(this.#surroundings.prng);
    let from = Infinity;
    for (const watcher of watchers) {
      forgetBatch(watcher);
      watcher.state = WatcherState.Indexed;
      watcher.index = group;
      group.add(watcher);
      from = Math.min(from, watcher.minRevision);
    }
    this.#passes.push({ catchUp: new CatchUp(this.#surroundings, group, from), near });
  }

  #step(pass: Pass): void {
    if (!pass.catchUp.step(sendBytesMax)) return;
    this.#passes.splice(this.#passes.indexOf(pass), 1);
    this.#surroundings.joined(pass.catchUp.index);
  }
}
