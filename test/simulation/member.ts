/** One member over all its runs: its disk, its clock, and what becomes of it. */
import type { ReplayedLog, MemberIdentity } from "../../src/server/index.js";
import { MemoryBackend, StoreDamagedError } from "../../src/storage/backend/index.js";
import { WalCorruptError } from "../../src/storage/wal/index.js";
import type { CheckedMember } from "./checker.js";
import { LogDisk } from "./log-disk.js";
import type { DiskManner, FaultPoint } from "./log-door.js";
import { MemberProcess } from "./process.js";
import type { World } from "./world.js";

/** A disk at its best. */
export const goodManner = { writeMs: 0.1, syncMs: 0.5, flushMs: 100, hungUntil: 0, failNext: false } as const;
/** 2026, in ms since 1970. */
const wallStartMs = 1_780_000_000_000;
const restartMs = 500;
/** Between a member's removal and its stop, as the server's. */
const removedDelayMs = 1000;

/** What a process takes for time. */
export class MemberClock {
  /** How fast it runs. */
  rate = 1;
  /** Added to the wall clock; may be negative. */
  wallOffsetMs = 0;
  #value = 0;
  #readAt = 0;

  /** Milliseconds that never go back. */
  monotonicMs(now: number): number {
    this.#value += (now - this.#readAt) * this.rate;
    this.#readAt = now;
    return this.#value;
  }

  jump(now: number, forwardMs: number): void {
    this.#value = this.monotonicMs(now) + forwardMs;
  }

  changeRate(now: number, rate: number): void {
    this.monotonicMs(now);
    this.rate = rate;
  }

  wallMs(now: number): number {
    return Math.floor(wallStartMs + now + this.wallOffsetMs);
  }
}

export class SimulatedMember implements CheckedMember {
  readonly world: World;
  readonly name: string;
  readonly identity: MemberIdentity;
  readonly clock = new MemberClock();
  readonly manner: DiskManner & { flushMs: number } = { ...goodManner };
  disk = new LogDisk();
  backend = this.#newBackend();
  /** Snapshots of other members that are whole on its disk, by path. */
  readonly snapshots = new Map<string, MemoryBackend>();
  /** Its first entries are durable. */
  bootstrapped = false;
  process: MemberProcess | null = null;
  /** It has refused to start, as its disk is damaged, and stays away. */
  refused = false;
  /** What of its database is not what was written; null: nothing. */
  storeDamage: string | null = null;
  /** It was removed from the cluster, and has stopped for good. */
  removed = false;
  /** It comes to a cluster that is there: its log begins with what others send. */
  readonly joins: boolean;
  /** How long apply's turns wait. */
  applyTurnMs = 0.05;
  /** It crashes when it comes to this point so many times more. */
  armed: { readonly point: FaultPoint; count: number; readonly downMs: number } | null = null;
  #stopping = false;

  constructor(world: World, name: string, identity: MemberIdentity, joins = false) {
    this.joins = joins;
    this.world = world;
    this.name = name;
    this.identity = identity;
  }

  get id(): bigint {
    return this.identity.memberId;
  }
  get appliedIndex(): number {
    return this.process?.knownAppliedIndex ?? 0;
  }
  /** It runs, as far as others can see. */
  get up(): boolean {
    return this.process !== null && this.process.core !== null;
  }

  start(): void {
    if (this.process !== null || this.refused || this.removed) return;
    this.process = new MemberProcess(this);
  }

  /** It is removed: by its own log, or by what another member says to it. It stops, if it has not crashed before. */
  leave(): void {
    const { process } = this;
    if (process === null) return;
    this.world.trace?.note(this, "removed");
    this.world.timeline.after(removedDelayMs, () => {
      if (this.process !== process) return;
      process.kill();
      this.process = null;
      this.#endDisk();
      this.#endStore();
      this.removed = true;
    });
  }

  /** An operator starts it although it was removed. */
  rejoin(): void {
    this.removed = false;
    this.start();
  }

  /** A new data folder. */
  wipe(): void {
    this.disk = new LogDisk();
    this.backend = this.#newBackend();
    this.storeDamage = null;
  }

  /** A bit of its database turns over while it is down. */
  flipBitOfStore(place: number): void {
    const damage = this.backend.flipBit(place);
    if (damage !== null) this.world.happened.note("database bit flipped");
    this.storeDamage = damage ?? this.storeDamage;
  }

  #newBackend(): MemoryBackend {
    const openSnapshot = (file: string): MemoryBackend => {
      const found = this.snapshots.get(file);
      return found ?? this.world.fail("a mark's snapshot is on the disk", `${this.name} has no ${file}`);
    };
    return new MemoryBackend({ flushAtOnce: false, openSnapshot });
  }

  started(): void {
    this.world.trace?.note(this, "start");
  }

  /** The process ends, and what was not synced may be lost. */
  crash(): void {
    if (this.process === null) return;
    this.#stopping = false;
    this.process.kill();
    this.process = null;
    this.#endDisk();
    this.world.trace?.note(this, "crash");
    this.#endStore();
    this.world.crashes++;
    this.world.happened.note("crash");
  }

  #endDisk(): void {
    const fate = this.disk.crash(this.world.diskChance);
    if (fate === "lost" || fate === "torn") this.world.happened.note(`unsynced write ${fate}`);
  }

  /** What a start will find; where it begins is read here already. */
  #endStore(): void {
    try {
      this.backend = this.backend.crashed();
    } catch (error) {
      if (!(error instanceof StoreDamagedError) || this.storeDamage === null) throw error;
      this.#refused("database");
    }
  }

  /** Crashes, and is started again. */
  restartAfter(downMs: number): void {
    this.crash();
    this.world.timeline.after(downMs, () => this.start());
  }

  /** The process has ended itself because it must not go on; whoever watches over it starts it again. */
  exit(reason: string): void {
    this.world.trace?.note(this, "exit", reason);
    this.restartAfter(restartMs);
  }

  /** Ends in order, then starts again. */
  stop(downMs: number): void {
    const { process } = this;
    if (process === null || this.#stopping) return;
    if (process.core === null) {
      this.restartAfter(downMs);
      return;
    }
    this.#stopping = true;
    process.stop(() => {
      if (this.process !== process) return;
      this.#stopping = false;
      process.kill();
      this.process = null;
      this.world.trace?.note(this, "stop");
      this.#endStore();
      this.world.timeline.after(downMs, () => this.start());
    });
  }

  faultPoint(point: FaultPoint): void {
    const { armed } = this;
    if (armed === null || armed.point !== point || --armed.count > 0) return;
    this.armed = null;
    this.world.happened.noteCrash(point);
    this.restartAfter(armed.downMs);
  }

  /** Its log was read and found good. */
  recovered(): void {
    if (this.disk.damaged) this.world.fail("damage is noticed", `${this.name} starts from a damaged log`);
  }

  /** It has read all its records. Of the small buckets some may be read later, or written anew before. */
  storeRead(): void {
    if (this.storeDamage?.startsWith("revision ") === true)
      this.world.fail("damage is noticed", `${this.name} starts from a damaged database: ${this.storeDamage}`);
  }

  /** As the server checks at start: the store holds what the log has let go, and no more than the log. */
  checkHalvesFit(log: ReplayedLog, consistentIndex: number): void {
    if (consistentIndex > log.lastIndex || consistentIndex < log.mark.index) {
      const detail = `log from ${log.mark.index} to ${log.lastIndex}, store at ${consistentIndex}`;
      this.world.fail("log and store fit", `${this.name}: ${detail}`);
    }
  }

  /** Something in `process` threw. */
  processFailed(process: MemberProcess, error: unknown): void {
    // It was killed while it was failing.
    if (this.process !== process) return;
    const isDamage =
      (error instanceof WalCorruptError && this.disk.damaged) ||
      (error instanceof StoreDamagedError && this.storeDamage !== null);
    if (isDamage) this.refuse(process, error instanceof WalCorruptError ? "log" : "database");
    else this.world.failed(error, this.name);
  }

  /** Its disk is damaged: it ends, and does not come back. */
  refuse(process: MemberProcess, half: "log" | "database" = "database"): void {
    process.kill();
    this.process = null;
    this.#refused(half);
  }

  #refused(half: "log" | "database"): void {
    this.refused = true;
    this.world.happened.note(`damaged ${half} refused`);
    this.world.trace?.note(this, "refuse");
    this.world.refusals++;
  }
}
