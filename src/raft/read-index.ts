/**
 * Linearizable reads without log entries (thesis §6.4): the leader notes its commit index and hears from a quorum
 * before the asker may rely on it.
 */
import type { EntryBatch } from "../base/index.js";
import { MessageType, type Message } from "./message.js";
import type { Raft } from "./raft.js";
import { decodePosition, pendingReadsMax } from "./read-only.js";
import { broadcastHeartbeat } from "./replication.js";

/** A read asked for by this member or passed on by a follower. */
export function handleReadIndex(raft: Raft, m: Message): void {
  // Until an entry of this term is committed, the commit index may be behind what was acknowledged to clients.
  // etcd lets a single voter answer even then; after a crash that lost the commit index it reads stale data.
  if (!raft.committedInTerm) {
    if (raft.earlyReads.length < pendingReadsMax) raft.earlyReads.push(m);
    return;
  }
  ask(raft, m);
}

/** The first commit of this term: reads that waited for it go on. */
export function releaseEarlyReads(raft: Raft): void {
  if (raft.earlyReads.length === 0 || !raft.committedInTerm) return;
  const early = raft.earlyReads;
  raft.earlyReads = [];
  for (const m of early) ask(raft, m);
}

function ask(raft: Raft, m: Message): void {
  const { readOnly, log } = raft;
  if (raft.tracker.isOnlyVoter(raft.id) || raft.config.readOnlyOption === "leaseBased") {
    answer(raft, m.from, m.entries, log.committed);
    return;
  }
  if (readOnly.full) return;
  readOnly.add({ from: m.from, request: m.entries, index: log.committed });
  readOnly.acknowledge(raft.id, readOnly.position);
  broadcastHeartbeat(raft);
}

/** Which reads a heartbeat's answer acknowledges: all up to this position, 0 for none, -1 for one never sent. */
export function readPosition(raft: Raft, m: Message): number {
  if (m.context === null || m.context.length === 0) return 0;
  const position = decodePosition(m.context);
  return position > raft.readOnly.position ? -1 : position;
}

/** `from` still follows this leader, as of the read at `position`: releases what a quorum has acknowledged. */
export function acknowledgeReads(raft: Raft, from: bigint, position: number): void {
  const { readOnly } = raft;
  readOnly.acknowledge(from, position);
  const reached = raft.tracker.quorumOf((id) => readOnly.acknowledgedBy(id));
  for (const read of readOnly.releaseTo(Math.min(reached, readOnly.position))) {
    answer(raft, read.from, read.request, read.index);
  }
}

function answer(raft: Raft, from: bigint, request: readonly EntryBatch[], index: number): void {
  if (from === raft.id) {
    raft.readStates.push({ index, context: request[0]!.bytes });
  } else {
    raft.send({ type: MessageType.ReadIndexResp, to: from, index, entries: request });
  }
}
