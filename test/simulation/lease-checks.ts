/**
 * What must hold of leases: only the leader of a term proposes that one ends in it, none ends before its time by the
 * clock of whoever proposed it, whoever led when it was granted or renewed, and none within a new leader's first whole
 * TTL and an election timeout. (A leader that is cut off may propose what a renewal by the next one has overtaken: that
 * is never committed.)
 *
 * Where a checkpoint has said how much of a lease is left, that much, from then on, is its time as well: no less is
 * said than what is left, and a new leader gives no more.
 */
import { decodeInternalRaftRequest } from "../../src/proto/index.js";
import type { NewEntry } from "./checker.js";
import type { SimulatedMember } from "./member.js";
import type { World } from "./world.js";

/** Times are sums of fractions. */
const slackMs = 1;
/** What a client has sent is there, or lost, within this and an election timeout: a follower may have passed it on. */
const travelMs = 2500;
/** etcd's request IDs begin with so many bits of the member's ID. */
const memberBits = 0xffffn;

const wholeTime = "a renewal is for the whole time";

/** Every member's clock at some moment. */
type Clocks = ReadonlyMap<string, number>;

/** So much time, beginning then. */
interface Span {
  readonly ms: number;
  readonly begun: Clocks;
}

/** A checkpoint in the log; of 0 ms: the lease has its whole time again. */
interface Checkpoint extends Span {
  readonly id: bigint;
  readonly index: number;
  readonly term: number;
  readonly by: string;
  readonly atMs: number;
  committed: boolean;
  /** A leader that has it in its log, if it is committed, has renewed the lease without minding it. */
  forgotten: string | null;
}

/** Who answered a renewal: a leader, and in which term; when the client asked. */
export interface Renewed {
  readonly name: string;
  readonly term: number;
  readonly askedMs: number;
}

interface Known {
  /** Seconds, as granted. */
  readonly ttl: number;
  readonly index: number;
  /** From when its last renewal that was answered was asked for, or its grant. */
  whole: Span;
  /** Committed since then. */
  checkpoints: Checkpoint[];
  /** A client may have renewed it up to then, answered or not. */
  touchedMs: number;
}

/** A member became leader. */
interface Promotion {
  readonly term: number;
  readonly atMs: number;
  readonly clockMs: number;
  /** It had applied so much, at least. */
  readonly appliedIndex: number;
}

export class LeaseChecks {
  readonly #world: World;
  readonly #known = new Map<bigint, Known>();
  readonly #promotions = new Map<string, Promotion>();
  /** Leases that a client has asked to revoke. */
  readonly #revokedByClients = new Set<bigint>();
  /** Entries, by index and term, that would end a lease before its time. */
  readonly #early = new Map<string, { kind: string; detail: string }>();
  /** Checkpoints that are not known to be committed, by index and term. */
  readonly #checkpoints = new Map<string, readonly Checkpoint[]>();
  /** All that were written of a lease, in the order in which they were; a renewal looks back to the last of 0. */
  readonly #written = new Map<bigint, Checkpoint[]>();
  expired = 0;
  renewed = 0;
  checkpoints = 0;

  constructor(world: World) {
    this.#world = world;
  }

  clocks(): Clocks {
    const { timeline, members } = this.#world;
    return new Map(members.map(({ name, clock }) => [name, clock.monotonicMs(timeline.now)]));
  }

  /** A client has been told that its grant, asked for at `asked`, is done. */
  granted(id: bigint, { ttl, index, asked }: { ttl: number; index: number; asked: Clocks }): void {
    const whole = { ms: 1000 * ttl, begun: asked };
    this.#known.set(id, { ttl, index, whole, checkpoints: [], touchedMs: this.#world.timeline.now });
  }

  /** A client asks for a renewal, or gives up asking. */
  touched(id: bigint): void {
    const known = this.#known.get(id);
    if (known !== undefined) known.touchedMs = this.#world.timeline.now + travelMs + this.#world.config.electionTimeout;
  }

  /** A client has been told that the renewal that it asked for at `asked` is done; `by` is null when it was passed on. */
  renewedAt(id: bigint, asked: Clocks, by: Renewed | null): void {
    const known = this.#known.get(id);
    if (known === undefined) return;
    if (by !== null) this.#mustBeWhole(id, by);
    known.whole = { ms: 1000 * known.ttl, begun: asked };
    // What was said behind the renewal is of the renewed lease.
    known.checkpoints = known.checkpoints.filter((each) => {
      const begun = each.begun.get(each.by) ?? 0;
      const before = asked.get(each.by) ?? 0;
      return begun > before && each.ms >= known.whole.ms - (begun - before) - slackMs;
    });
    this.renewed++;
  }

  revokedByClient(id: bigint): void {
    this.#revokedByClients.add(id);
  }

  /** A member is found leading in `term`. */
  promoted(member: SimulatedMember, term: number, appliedIndex: number): void {
    if (this.#promotions.get(member.name)?.term === term) return;
    const atMs = this.#world.timeline.now;
    this.#promotions.set(member.name, { term, atMs, clockMs: member.clock.monotonicMs(atMs), appliedIndex });
  }

  /** An entry that was not seen before is written to `member`'s log; `leader` leads in its term. */
  proposed(member: SimulatedMember, { index, term, data }: NewEntry, leader: bigint = member.id): void {
    const { header, leaseRevoke, leaseCheckpoint } = decodeInternalRaftRequest(data, 0, data.length);
    const isLeaders = (leader & memberBits) === (header?.ID ?? 0n) >> 48n;
    if (leaseCheckpoint !== undefined) {
      if (!isLeaders) this.#world.fail("the leader alone writes checkpoints", `entry ${index} of term ${term}`);
      const by = { begun: this.clocks(), by: member.name, atMs: this.#world.timeline.now };
      const written = leaseCheckpoint.checkpoints.map(({ ID: id, remainingTTL }): Checkpoint => {
        return { id, index, term, ms: 1000 * remainingTTL, ...by, committed: false, forgotten: null };
      });
      for (const each of written) this.#wrote(each, member);
      this.#checkpoints.set(`${index}:${term}`, written);
    }
    const id = leaseRevoke?.ID;
    if (id === undefined || this.#revokedByClients.has(id)) return;
    this.expired++;
    if (!isLeaders) {
      this.#world.fail("the leader alone ends leases", `lease ${id} ends in term ${term}, by another than its leader`);
    }
    this.#fearEarly(`${index}:${term}`, this.#whyEarly(id, member));
  }

  /** An entry is known to be committed. */
  committed(index: number, term: number): void {
    const early = this.#early.get(`${index}:${term}`);
    if (early !== undefined) this.#world.fail(early.kind, early.detail);
    for (const checkpoint of this.#checkpoints.get(`${index}:${term}`) ?? []) {
      checkpoint.committed = true;
      if (checkpoint.forgotten !== null) this.#world.fail(wholeTime, checkpoint.forgotten);
      if (checkpoint.ms === 0) continue;
      this.checkpoints++;
      this.#known.get(checkpoint.id)?.checkpoints.push(checkpoint);
    }
    this.#checkpoints.delete(`${index}:${term}`);
  }

  /**
   * How many seconds `member` may say at most that lease `id` has left when it is asked now, and leads: no more than
   * the last checkpoint that it knew when it came to lead, or a former leader's behind that, if nobody has renewed the
   * lease since. (Those may leave more: that leader had given time on top.)
   */
  leftMax(id: bigint, member: SimulatedMember): number {
    const known = this.#known.get(id);
    const promotion = this.#promotions.get(member.name);
    if (known === undefined || promotion === undefined) return Infinity;
    const checkpoint = known.checkpoints.findLast(({ index }) => index <= promotion.appliedIndex);
    if (checkpoint === undefined || checkpoint.atMs <= known.touchedMs) return Infinity;
    const later = (this.#written.get(id) ?? []).filter(
      ({ index, term }) => term < promotion.term && index > promotion.appliedIndex,
    );
    const ms = Math.max(checkpoint.ms, ...later.map((each) => each.ms));
    const led = member.clock.monotonicMs(this.#world.timeline.now) - promotion.clockMs;
    return (ms + this.#world.config.electionTimeout - led + slackMs) / 1000;
  }

  #wrote(checkpoint: Checkpoint, member: SimulatedMember): void {
    const { id, index, term, ms } = checkpoint;
    const written = this.#written.get(id);
    if (written === undefined) this.#written.set(id, [checkpoint]);
    else written.push(checkpoint);
    if (ms > 0) this.#fearEarly(`${index}:${term}`, this.#whyTooLittle(checkpoint, member));
  }

  /** What the renewing leader has in its log says that the lease has its whole time, or was written after the question. */
  #mustBeWhole(id: bigint, { name, term, askedMs }: Renewed): void {
    for (const each of (this.#written.get(id) ?? []).toReversed()) {
      if (each.term > term) continue;
      const isInLog = each.committed || each.term === term;
      if (each.ms === 0 && isInLog) return;
      if (each.ms === 0 || each.atMs >= askedMs) continue;
      const detail = `${name} renews lease ${id}, of which entry ${each.index} of term ${each.term} leaves ${each.ms} ms`;
      if (isInLog) this.#world.fail(wholeTime, detail);
      each.forgotten = detail;
    }
  }

  #fearEarly(entry: string, early: { kind: string; detail: string } | null): void {
    if (early !== null) this.#early.set(entry, early);
  }

  /** What `lease` must have left at least by `member`'s clock. */
  #leftMs({ whole, checkpoints }: Known, member: SimulatedMember): number {
    const now = member.clock.monotonicMs(this.#world.timeline.now);
    return Math.min(
      ...[whole, ...checkpoints].map(({ ms, begun }) => ms - (now - (begun.get(member.name) ?? -Infinity))),
    );
  }

  #whyTooLittle({ id, ms }: Checkpoint, member: SimulatedMember): { kind: string; detail: string } | null {
    const known = this.#known.get(id);
    if (known === undefined) return null;
    const left = this.#leftMs(known, member);
    if (ms >= left - slackMs) return null;
    const detail = `${member.name} leaves ${ms} ms of lease ${id} of ${known.ttl} s, which has ${left.toFixed(0)} ms`;
    return { kind: "a checkpoint leaves what is left", detail };
  }

  #whyEarly(id: bigint, member: SimulatedMember): { kind: string; detail: string } | null {
    const known = this.#known.get(id);
    if (known === undefined) return null;
    const { timeline, config } = this.#world;
    const now = member.clock.monotonicMs(timeline.now);
    const left = this.#leftMs(known, member);
    if (left > slackMs) {
      const detail = `${member.name} ends lease ${id} of ${known.ttl} s, which has ${left.toFixed(0)} ms left`;
      return { kind: "no lease ends early", detail };
    }
    const promotion = this.#promotions.get(member.name);
    if (promotion === undefined || promotion.appliedIndex < known.index || known.touchedMs >= promotion.atMs)
      return null;
    const led = now - promotion.clockMs;
    const givenMs = Math.min(known.whole.ms, ...known.checkpoints.map(({ ms }) => ms));
    if (led >= givenMs + config.electionTimeout - slackMs) return null;
    const detail = `${member.name} ends lease ${id} of ${known.ttl} s, leading ${led.toFixed(0)} ms`;
    return { kind: "a new leader gives leases time", detail };
  }
}
