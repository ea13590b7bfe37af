/**
 * What the faults of a run have done, by kind: a fault that is drawn may meet nothing (a cut over which nobody sends, a
 * crash at a point that is not come to), and then it tests nothing.
 */
import { installPoints, writePoints, type FaultPoint } from "./log-door.js";

type Crash = `crash ${FaultPoint}`;
const crashAt = (point: FaultPoint): Crash => `crash ${point}`;

/** All that a thousand seeds must have made happen. */
export const happenings = [
  "message lost",
  "message repeated",
  "message late",
  "message overtaken",
  "message cut off",
  "message cut off in one direction",
  "message cut off from a member that a third one reaches",
  "crash",
  ...[...writePoints, ...installPoints].map(crashAt),
  "unsynced write lost",
  "unsynced write torn",
  "torn write cut",
  "write misdirected",
  "sync failed",
  "sync slow",
  "disk hung",
  "apply slow",
  "log bit flipped",
  "damaged log refused",
  "database bit flipped",
  "damaged database refused",
  "main paused",
  "apply paused",
  "clock jumped",
  "wall clock set back",
  "clock rate changed",
  "addMember",
  "removeMember",
  "updateMember",
  "promoteMember",
  "moveLeader",
  "rejoin",
] as const;
export type Happening = (typeof happenings)[number];

export class Happened {
  readonly #counts = new Map<Happening, number>();

  note(what: Happening): void {
    this.#counts.set(what, (this.#counts.get(what) ?? 0) + 1);
  }

  noteCrash(point: FaultPoint): void {
    this.note(crashAt(point));
  }

  get counts(): Readonly<Record<string, number>> {
    return Object.fromEntries(this.#counts);
  }
}
