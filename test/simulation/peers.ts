/**
 * What a simulated member asks others beside Raft's messages: small requests over the same network, each answered, or
 * given up as lost. Clocks of two members are not compared: a connection's age is told by the asker's own.
 */
import { CallKind } from "../../src/native/index.js";
import {
  decodeLeaseKeepAliveResponse,
  decodeLeaseTimeToLiveResponse,
  encodeLeaseKeepAliveRequest,
  encodeLeaseTimeToLiveRequest,
} from "../../src/proto/index.js";
import type { ConfChangeOutcome, LeaderAnswer, LeaseStatus, MemberVersions, Peers } from "../../src/server/index.js";
import type { Reply } from "./calls.js";
import type { MemberProcess } from "./process.js";

const nothing = new Uint8Array(0);

export function simulatedPeers(process: MemberProcess): Peers {
  const { member } = process;
  const { world } = member;
  /** After so long without an answer a request is given up. */
  const lostMs = world.config.electionTimeout;
  /** Asks the member with `id`; the answer is null when none comes back, or `ask` gives none. */
  const request = <T>(
    id: bigint,
    ask: (at: MemberProcess, answer: (value: T | null) => void) => void,
    done: (value: T | null) => void,
  ): void => {
    let isOver = false;
    const end = (value: T | null): void => {
      if (isOver) return;
      isOver = true;
      done(value);
    };
    process.main.run(lostMs, () => end(null));
    const to = world.memberOf(id);
    if (to === undefined) return;
    world.network.carry(member, to, () => {
      const at = to.process;
      if (at === null || at.core === null) return;
      at.main.run(0, () => {
        ask(at, (value) => world.network.carry(to, member, () => process.main.run(0, () => end(value))));
      });
    });
  };
  return {
    activeSince: (id) => {
      const since = world.network.connectedSince(member, world.memberOf(id));
      return since === null ? null : member.clock.monotonicMs(world.timeline.now) - (world.timeline.now - since);
    },
    membersChanged: () => {},
    version: (of, done) =>
      request<MemberVersions>(of.id, (at, answer) => answer({ server: "3.7.1", cluster: at.clusterVersion }), done),
    // Nobody is asked to check for corruption.
    hashKv: (_of, _revision, done) => process.main.run(0, () => done(null)),
    promote: (leader, id, done) =>
      request<LeaderAnswer<ConfChangeOutcome>>(leader.id, (at, answer) => at.promote(id, answer), done),
    renewLease: (leader, id, done) =>
      request<LeaderAnswer<number>>(leader.id, (at, answer) => renewAt(at, id, { lostMs, answer }), done),
    leaseTimeToLive: (leader, id, keys, done) =>
      request<LeaderAnswer<LeaseStatus | null>>(
        leader.id,
        (at, answer) => timeToLiveAt(at, { id, keys }, answer),
        done,
      ),
  };
}

/** Renews a lease at its leader, as a client of the leader's own would. */
function renewAt(
  at: MemberProcess,
  id: bigint,
  { lostMs, answer }: { readonly lostMs: number; readonly answer: (value: LeaderAnswer<number>) => void },
): void {
  if (!at.core!.isLeader) return answer(null);
  const leave = (): void => at.calls.streamRecord(callId, CallKind.Cancel, nothing);
  const callId = at.calls.openStream({
    kind: "keepAlive",
    message: (bytes) => {
      answer({ value: decodeLeaseKeepAliveResponse(bytes).TTL });
      leave();
    },
    ended: () => answer(null),
  });
  at.calls.streamRecord(callId, CallKind.Message, encodeLeaseKeepAliveRequest({ ID: BigInt.asIntN(64, id) }));
  at.main.run(lostMs, leave);
}

function timeToLiveAt(
  at: MemberProcess,
  { id, keys }: { readonly id: bigint; readonly keys: boolean },
  answer: (value: LeaderAnswer<LeaseStatus | null>) => void,
): void {
  if (!at.core!.isLeader) return answer(null);
  const message = encodeLeaseTimeToLiveRequest({ ID: BigInt.asIntN(64, id), keys });
  const answered = (reply: Reply | null): void => {
    if (reply?.code !== 0) return answer(null);
    const { TTL, grantedTTL, keys: attached } = decodeLeaseTimeToLiveResponse(reply.message);
    // One whose end is overdue may have a TTL of -1, too.
    const isMissing = TTL === -1 && grantedTTL === 0;
    answer({ value: isMissing ? null : { ttl: TTL, grantedTtl: grantedTTL, keys: attached } });
  };
  at.calls.call({ kind: "timeToLive", field: 0, method: 0, message, index: 0, answered });
}
