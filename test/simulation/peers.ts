/**
 * What a simulated member asks others beside Raft's messages: small requests over the same network, each answered, or
 * given up as lost. Clocks of two members are not compared: a connection's age is told by the asker's own.
 */
import type { ConfChangeOutcome, LeaderAnswer, MemberVersions, Peers } from "../../src/server/index.js";
import type { MemberProcess } from "./process.js";

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
    promote: (leader, id, done) =>
      request<LeaderAnswer<ConfChangeOutcome>>(leader.id, (at, answer) => at.promote(id, answer), done),
    // Leases are not part of the clients' histories yet.
    renewLease: (_leader, _id, done) => process.main.run(lostMs, () => done(null)),
    leaseTimeToLive: (_leader, _id, _withKeys, done) => process.main.run(lostMs, () => done(null)),
  };
}
