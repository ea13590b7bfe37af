/**
 * The door to a simulated log disk: what native/ gives for the real one. It queues records, writes them as batches,
 * syncs, and wakes its owner, each after the time that the disk takes.
 */
import { copyOf } from "../../src/base/index.js";
import type { WalDoor } from "../../src/native/index.js";
import type { WalDoors } from "../../src/storage/wal/index.js";
import type { Chance } from "./chance.js";
import type { LogDisk } from "./log-disk.js";
import { LogState } from "./log-records.js";
import type { Thread, Timeline } from "./timeline.js";

const batchBytesMax = 4 << 20;
const failedFlag = 1;
/** A sync that takes so long is slow. */
const slowMs = 5;

/** How a disk behaves at present. */
export interface DiskManner {
  /** Mean times. */
  writeMs: number;
  syncMs: number;
  /** Nothing is done before this time. */
  hungUntil: number;
  /** The next sync fails. */
  failNext: boolean;
}

/** Moments at which a crash is most telling. */
export const writePoints = ["beforeWrite", "beforeSync", "afterSync", "beforeFlush", "afterFlush"] as const;
/**
 * Likewise with a snapshot from another member: its file is on the disk; building the store from it begins; that is
 * done; the store is about to take the other's place; it has.
 */
export const installPoints = ["snapshotStored", "beforeBuild", "afterBuild", "beforeReplace", "afterReplace"] as const;
export type FaultPoint = (typeof writePoints)[number] | (typeof installPoints)[number];

/** What a fault of the disk has done. */
export type DiskHappening = "disk hung" | "sync slow" | "sync failed" | "write misdirected" | "torn write cut";

export interface LogDoorSurroundings {
  readonly disk: LogDisk;
  readonly manner: DiskManner;
  readonly timeline: Timeline;
  readonly chance: Chance;
  /** The writer's thread, and the one that owns the log. */
  readonly writer: Thread;
  readonly owner: Thread;
  readonly point: (point: FaultPoint) => void;
  /** Something has become durable. */
  readonly synced: () => void;
  readonly released: (index: number) => void;
  readonly happened: (what: DiskHappening) => void;
}

type Recovered = NonNullable<ReturnType<WalDoor["takeRecovered"]>>;

class LogDoor implements WalDoor {
  readonly #surroundings: LogDoorSurroundings;
  readonly #onWake: () => void;
  #recovered: Recovered | null;
  #chunks: Uint8Array[];
  #queue: { readonly records: Uint8Array; readonly token: number }[] = [];
  #waitingBytes = 0;
  #busy = false;
  #durableToken = -1;
  #failed = false;
  /** Set while closing: to be called when nothing waits any more. */
  #idle: (() => void) | null = null;
  #closed = false;

  constructor(
    surroundings: LogDoorSurroundings,
    onWake: () => void,
    opened: { readonly recovered: Recovered; readonly chunks: Uint8Array[] },
  ) {
    this.#surroundings = surroundings;
    this.#onWake = onWake;
    this.#recovered = opened.recovered;
    this.#chunks = opened.chunks;
  }

  takeRecovered(): Recovered | null {
    const recovered = this.#recovered;
    this.#recovered = null;
    return recovered;
  }

  nextChunk(): Promise<Uint8Array> {
    const chunk = this.#chunks.shift() ?? new Uint8Array(0);
    return new Promise((resolve) => this.#surroundings.owner.run(0.1, () => resolve(chunk)));
  }

  append(records: Uint8Array, length: number, token: number): number {
    if (this.#closed) return 0;
    this.#queue.push({ records: copyOf(records, 0, length), token });
    this.#waitingBytes += length;
    this.#next();
    return this.#waitingBytes;
  }

  /** Half of the times when the log rests, at once: there a crash comes before or after, not within. */
  appendHere(records: Uint8Array, length: number, token: number): boolean {
    const { disk, manner, timeline, chance, synced, happened } = this.#surroundings;
    const rests = !this.#busy && !this.#closed && !this.#failed && !manner.failNext && timeline.now >= manner.hungUntil;
    if (!rests || chance.oneIn(2)) {
      this.append(records, length, token);
      return false;
    }
    if (disk.write(copyOf(records, 0, length), chance) === "misdirected") happened("write misdirected");
    disk.sync();
    synced();
    this.#durableToken = token;
    return true;
  }

  /** Begins the next batch with all that waits. */
  #next(): void {
    if (this.#busy || this.#failed) return;
    if (this.#queue.length === 0) {
      this.#idle?.();
      this.#idle = null;
      return;
    }
    this.#busy = true;
    let bytes = 0;
    let count = 0;
    while (count < this.#queue.length && (count === 0 || bytes + this.#queue[count]!.records.length <= batchBytesMax))
      bytes += this.#queue[count++]!.records.length;
    const taken = this.#queue.splice(0, count);
    const { manner } = this.#surroundings;
    this.#later(manner.writeMs, () => this.#write(joined(taken.map(({ records }) => records)), taken.at(-1)!.token));
  }

  /** After about `meanMs`, and not while the disk hangs. */
  #later(meanMs: number, run: () => void): void {
    const { timeline, writer, chance, manner, happened } = this.#surroundings;
    writer.run(chance.around(meanMs), () => {
      if (timeline.now >= manner.hungUntil) return run();
      happened("disk hung");
      writer.run(manner.hungUntil - timeline.now, run);
    });
  }

  #write(records: Uint8Array, token: number): void {
    const { disk, chance, manner, point, writer, happened } = this.#surroundings;
    point("beforeWrite");
    if (!writer.alive) return;
    if (disk.write(records, chance) === "misdirected") happened("write misdirected");
    if (manner.syncMs >= slowMs) happened("sync slow");
    point("beforeSync");
    this.#later(manner.syncMs, () => this.#sync(records.length, token));
  }

  #sync(length: number, token: number): void {
    const { disk, manner, point, writer, synced, happened } = this.#surroundings;
    if (manner.failNext) {
      manner.failNext = false;
      happened("sync failed");
      this.#failed = true;
      this.#wake();
      return;
    }
    disk.sync();
    synced();
    this.#waitingBytes -= length;
    this.#durableToken = token;
    this.#busy = false;
    point("afterSync");
    if (!writer.alive) return;
    this.#wake();
    this.#next();
  }

  #wake(): void {
    const { owner, chance } = this.#surroundings;
    owner.run(chance.around(0.05), this.#onWake);
  }

  release(index: number): void {
    this.#surroundings.released(index);
    this.#surroundings.disk.release(index);
  }

  poll(into: Float64Array): void {
    into[0] = this.#durableToken;
    into[1] = this.#failed ? failedFlag : 0;
  }

  stats(into: Float64Array): void {
    into.fill(0);
  }

  failure(): string | null {
    return this.#failed
      ? JSON.stringify({ name: "WalIoError", message: "wal: sync: I/O error", noSpace: false })
      : null;
  }

  close(): Promise<void> {
    this.#closed = true;
    return new Promise((resolve) => {
      this.#idle = () => this.#surroundings.owner.run(0.1, () => resolve());
      this.#next();
    });
  }
}

function joined(parts: readonly Uint8Array[]): Uint8Array {
  if (parts.length === 1) return parts[0]!;
  return new Uint8Array(Buffer.concat(parts));
}

function recoveredOf(metadata: Uint8Array, state: LogState): Recovered {
  const { hardState, mark } = state;
  return {
    metadata,
    lastIndex: state.lastIndex,
    direct: true,
    ...(hardState === null ? {} : { hardState }),
    ...(mark === null ? {} : { mark }),
  };
}

/** Makes and opens logs on the surroundings' disk. */
export function logDoors(surroundings: LogDoorSurroundings): WalDoors {
  const { disk, owner, chance, happened } = surroundings;
  const soon = (): Promise<void> => new Promise((resolve) => owner.run(chance.around(1), resolve));
  return {
    async create(_options, metadata, onWake) {
      await soon();
      disk.metadata = copyOf(metadata);
      return new LogDoor(surroundings, onWake, { recovered: recoveredOf(metadata, new LogState()), chunks: [] });
    },
    async open(_options, onWake) {
      await soon();
      const { metadata, state, cut } = disk.recover();
      if (cut) happened("torn write cut");
      const entries = new Uint8Array(Buffer.concat(state.entries.map(({ bytes }) => bytes)));
      const chunks = entries.length === 0 ? [] : [entries];
      return new LogDoor(surroundings, onWake, { recovered: recoveredOf(metadata, state), chunks });
    },
  };
}
