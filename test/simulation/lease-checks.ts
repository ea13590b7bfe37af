/**
 * What must hold of leases: only the leader of a term proposes that one ends in it, none ends before its time by the
 * clock of whoever proposed it, whoever led when it was granted or renewed, and none within a new leader's first whole
 * TTL and an election timeout. (A leader that is cut off may propose what a renewal by the next one has overtaken: that
 * is never committed.)
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

/** Every member's clock at some moment. */
type Clocks = ReadonlyMap<string, number>;

interface Known {
  /** Seconds, as granted. */
  readonly ttl: number;
  readonly index: number;
  /** When its last renewal that was answered was asked for, or its grant. */
  renewed: Clocks;
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
  expired = 0;
  renewed = 0;

  constructor(world: World) {
    this.#world = world;
  }

  clocks(): Clocks {
    const { timeline, members } = this.#world;
    return new Map(members.map(({ name, clock }) => [name, clock.monotonicMs(timeline.now)]));
  }

  /** A client has been told that its grant, asked for at `asked`, is done. */
  granted(id: bigint, { ttl, index, asked }: { ttl: number; index: number; asked: Clocks }): void {
    this.#known.set(id, { ttl, index, renewed: asked, touchedMs: this.#world.timeline.now });
  }

  /** A client asks for a renewal, or gives up asking. */
  touched(id: bigint): void {
    const known = this.#known.get(id);
    if (known !== undefined) known.touchedMs = this.#world.timeline.now + travelMs + this.#world.config.electionTimeout;
  }

  /** A client has been told that the renewal that it asked for at `asked` is done. */
  renewedAt(id: bigint, asked: Clocks): void {
    const known = this.#known.get(id);
    if (known === undefined) return;
    known.renewed = asked;
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
    const request = decodeInternalRaftRequest(data, 0, data.length);
    const id = request.leaseRevoke?.ID;
    if (id === undefined || this.#revokedByClients.has(id)) return;
    this.expired++;
    const proposer = (request.header?.ID ?? 0n) >> 48n;
    if ((leader & memberBits) !== proposer) {
      this.#world.fail("the leader alone ends leases", `lease ${id} ends in term ${term}, by another than its leader`);
    }
    const early = this.#whyEarly(id, member);
    if (early !== null) this.#early.set(`${index}:${term}`, early);
  }

  /** An entry is known to be committed. */
  committed(index: number, term: number): void {
    const early = this.#early.get(`${index}:${term}`);
    if (early !== undefined) this.#world.fail(early.kind, early.detail);
  }

  #whyEarly(id: bigint, member: SimulatedMember): { kind: string; detail: string } | null {
    const known = this.#known.get(id);
    if (known === undefined) return null;
    const { timeline, config } = this.#world;
    const now = member.clock.monotonicMs(timeline.now);
    const passed = now - (known.renewed.get(member.name) ?? -Infinity);
    const ttlMs = known.ttl * 1000;
    if (passed < ttlMs - slackMs) {
      const detail = `${member.name} ends lease ${id} of ${known.ttl} s ${passed.toFixed(0)} ms after its renewal`;
      return { kind: "no lease ends early", detail };
    }
    const promotion = this.#promotions.get(member.name);
    if (promotion === undefined || promotion.appliedIndex < known.index || known.touchedMs >= promotion.atMs)
      return null;
    const led = now - promotion.clockMs;
    if (led >= ttlMs + config.electionTimeout - slackMs) return null;
    const detail = `${member.name} ends lease ${id} of ${known.ttl} s, leading ${led.toFixed(0)} ms`;
    return { kind: "a new leader gives leases time", detail };
  }
}
