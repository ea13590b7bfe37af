/**
 * Clients with leases: each grants one, attaches keys to it, keeps it alive for a while, then revokes it or lets it
 * end; and clients that compact. What leaves a member is checked against the oracle, times by `LeaseChecks`.
 */
import {
  decodeLeaseGrantResponse,
  decodeLeaseKeepAliveResponse,
  decodeLeaseTimeToLiveResponse,
  encodeCompactionRequest,
  encodeLeaseGrantRequest,
  encodeLeaseKeepAliveRequest,
  encodeLeaseRevokeRequest,
  encodeLeaseTimeToLiveRequest,
  encodePutRequest,
} from "../../src/proto/index.js";
import { isNotCapable, type Reply } from "./calls.js";
import type { SimulatedMember } from "./member.js";
import { refused } from "./oracle.js";
import { leader, type CompactionCall, type LeaseLife } from "./scenario.js";
import { callUnary, StreamCall, type UnaryCall } from "./streams.js";
import type { World } from "./world.js";

const field = { put: 4, compaction: 7, revoke: 9 } as const;
/** gRPC codes by which apply says that a lease is not there, or there already; that a revision is out of range. */
const applyRefusals: ReadonlySet<number> = new Set([5, 9, 11]);
const timeoutMs = 3000;
const askEveryMs = 700;

const bytesOf = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, "latin1"));

/** How many calls have come to what. */
export interface LeaseCounts {
  leases: number;
  compactions: number;
}

export class LeaseClients {
  readonly #world: World;
  readonly counts: LeaseCounts = { leases: 0, compactions: 0 };

  constructor(world: World) {
    this.#world = world;
  }

  schedule(lives: readonly LeaseLife[], compactions: readonly CompactionCall[]): void {
    const { timeline } = this.#world;
    lives.forEach((life, i) => timeline.at(life.atMs, () => new Life(this.#world, this.counts, life, i).begin()));
    for (const call of compactions) timeline.at(call.atMs, () => this.#compact(call));
  }

  #compact({ member, back, physical }: CompactionCall): void {
    const { checker, clients } = this.#world;
    const revision = Math.max(1, clients.toldRevision - back);
    const at = memberFor(this.#world, member);
    if (at === null) return;
    const message = encodeCompactionRequest({ revision, physical });
    callUnary(
      this.#world,
      at,
      checkedWrite(this.#world, field.compaction, message, () => "compact()"),
      (answer) => {
        if (answer.reply?.code !== 0) return;
        this.counts.compactions++;
        if (checker.oracle.compactRevision < revision) this.#world.fail("compaction", `${revision} is not compacted`);
      },
    );
  }
}

/** The member asked for, or the next that is up; null: none is. */
export function memberFor(world: World, wanted: number): SimulatedMember | null {
  const { members } = world;
  const first = wanted === leader ? members.indexOf(world.leader) : wanted;
  for (let i = 0; i < members.length; i++) {
    const member = members[(first + i) % members.length]!;
    if (member.process !== null) return member;
  }
  return null;
}

/** A write whose answer must be the oracle's; `describe` says what a success was. */
function checkedWrite(
  world: World,
  fieldNumber: number,
  message: Uint8Array,
  describe: (reply: Reply) => string,
  kind: "write" | "grant" = "write",
): UnaryCall {
  const left = (reply: Reply, index: number): void => {
    const isRefusal = applyRefusals.has(reply.code) && !isNotCapable(reply);
    if (reply.code !== 0 && !isRefusal) return;
    const expected = world.checker.oracle.answerOf(index)?.text ?? "nothing: it is not committed";
    const got = isRefusal ? refused : describe(reply);
    if (got !== expected) world.fail("right answers", `field ${fieldNumber}: ${got} (${reply.text}), not ${expected}`);
  };
  return { kind, field: fieldNumber, message, timeoutMs, left };
}

/** One lease from its grant to its end. */
class Life {
  readonly #world: World;
  readonly #counts: LeaseCounts;
  readonly #life: LeaseLife;
  readonly #chosenId: bigint;
  #id = 0n;
  #index = 0;
  #untilMs = 0;

  constructor(world: World, counts: LeaseCounts, life: LeaseLife, i: number) {
    this.#world = world;
    this.#counts = counts;
    this.#life = life;
    this.#chosenId = life.chooses ? BigInt(1000 + i) : 0n;
  }

  begin(): void {
    const { ttl, member } = this.#life;
    const at = memberFor(this.#world, member);
    if (at === null) return;
    const asked = this.#world.leaseChecks.clocks();
    const message = encodeLeaseGrantRequest({ TTL: ttl, ID: this.#chosenId });
    const call = checkedWrite(this.#world, 8, message, (reply) => describeGrant(reply), "grant");
    const left = (reply: Reply, index: number): void => {
      this.#index = index;
      call.left!(reply, index);
    };
    callUnary(this.#world, at, { ...call, left }, ({ reply }) => {
      if (reply?.code !== 0) return;
      const granted = decodeLeaseGrantResponse(reply.message);
      this.#id = granted.ID;
      this.#counts.leases++;
      this.#world.leaseChecks.granted(this.#id, { ttl: granted.TTL, index: this.#index, asked });
      this.#live();
    });
  }

  #live(): void {
    const { keys, keepAliveMs, keepAliveForMs, revokeAfterMs, detachAfterMs, value } = this.#life;
    const { timeline } = this.#world;
    keys.forEach((key, i) => timeline.after(i * 20, () => this.#put(key, value, this.#id)));
    if (detachAfterMs !== undefined) timeline.after(detachAfterMs, () => this.#put(keys[0]!, value, 0n));
    this.#untilMs = timeline.now + keepAliveForMs;
    if (keepAliveForMs > 0) timeline.after(keepAliveMs, () => this.#keepAlive());
    if (revokeAfterMs !== null) timeline.after(revokeAfterMs, () => this.#revoke());
    if (this.#world.scenario.leaseCheckpointMs !== undefined) this.#askOften();
  }

  /** As long as the lease is there, how much is left of it. */
  #askOften(): void {
    const { timeline, checker } = this.#world;
    timeline.after(askEveryMs, () => {
      if (this.#world.healed || !checker.oracle.leases.has(this.#id)) return;
      const at = memberFor(this.#world, leader);
      if (at !== null) this.#timeToLive(at);
      this.#askOften();
    });
  }

  get #isOver(): boolean {
    return this.#world.healed || this.#world.timeline.now >= this.#untilMs;
  }

  #put(key: string, value: string, lease: bigint): void {
    const at = memberFor(this.#world, this.#life.member);
    if (at === null) return;
    const message = encodePutRequest({ key: bytesOf(key), value: bytesOf(value), lease });
    callUnary(
      this.#world,
      at,
      checkedWrite(this.#world, field.put, message, () => "put()"),
      () => {},
    );
  }

  #revoke(): void {
    const at = memberFor(this.#world, this.#life.member);
    if (at === null) return;
    this.#world.leaseChecks.revokedByClient(this.#id);
    const message = encodeLeaseRevokeRequest({ ID: this.#id });
    callUnary(
      this.#world,
      at,
      checkedWrite(this.#world, field.revoke, message, () => "revoke()"),
      () => {},
    );
  }

  /** One request of a stream of its own, then the next. */
  #keepAlive(): void {
    if (this.#isOver) return;
    const { timeline, leaseChecks, netChance } = this.#world;
    const next = (): void => timeline.after(this.#life.keepAliveMs, () => this.#keepAlive());
    const at = memberFor(this.#world, netChance.oneIn(2) ? this.#life.member : leader);
    if (at === null) return next();
    const asked = leaseChecks.clocks();
    const askedMs = timeline.now;
    const term = leadsIn(at);
    leaseChecks.touched(this.#id);
    let isOver = false;
    const end = (): void => {
      if (isOver) return;
      isOver = true;
      leaseChecks.touched(this.#id);
      stream.close();
      next();
    };
    const stream = new StreamCall(
      this.#world,
      at,
      { kind: "keepAlive" },
      {
        message: (bytes) => {
          if (isOver) return;
          const by = term !== null && term === leadsIn(at) ? { name: at.name, term, askedMs } : null;
          if (decodeLeaseKeepAliveResponse(bytes).TTL > 0) leaseChecks.renewedAt(this.#id, asked, by);
          else this.#mustBeGone(at);
          end();
        },
        ended: end,
      },
    );
    stream.send(encodeLeaseKeepAliveRequest({ ID: this.#id }));
    timeline.after(this.#life.keepAliveMs * 2, end);
    if (netChance.oneIn(4)) this.#timeToLive(at);
  }

  /** A member says that the lease is not there, whose grant had been told before it was asked. */
  #mustBeGone(at: SimulatedMember): void {
    if (!this.#world.checker.oracle.leases.has(this.#id)) return;
    this.#world.fail("a lease is there until it ends", `${at.name} does not know lease ${this.#id}`);
  }

  #timeToLive(at: SimulatedMember): void {
    const ledIn = leadsIn(at);
    const leftMax = this.#world.leaseChecks.leftMax(this.#id, at);
    const message = encodeLeaseTimeToLiveRequest({ ID: this.#id, keys: true });
    callUnary(this.#world, at, { kind: "timeToLive", field: 0, message, timeoutMs }, ({ reply }) => {
      if (reply?.code !== 0) return;
      const { TTL, grantedTTL, keys } = decodeLeaseTimeToLiveResponse(reply.message);
      // One whose end is overdue may have a TTL of -1, too.
      if (TTL === -1 && grantedTTL === 0) return this.#mustBeGone(at);
      const wanted = this.#life.keys;
      const strange = keys.some((key) => !wanted.includes(Buffer.from(key).toString("latin1")));
      if (grantedTTL !== Math.max(2, this.#life.ttl) || strange)
        this.#world.fail("time to live", `${at.name}: lease ${this.#id} of ${grantedTTL} s with ${keys.length} keys`);
      // Whole seconds, cut towards zero: of a lease that is overdue, too.
      if (ledIn !== null && leadsIn(at) === ledIn && TTL > Math.trunc(leftMax))
        this.#world.fail("a checkpoint counts", `${at.name}: ${TTL} s left of lease ${this.#id}, not ${leftMax}`);
    });
  }
}

/** The term in which the member leads; null: it does not. */
function leadsIn({ process }: SimulatedMember): number | null {
  const core = process?.core;
  return core?.isLeader === true ? core.term : null;
}

function describeGrant(reply: Reply): string {
  const { ID, TTL } = decodeLeaseGrantResponse(reply.message);
  return `grant(${ID}:${TTL})`;
}
