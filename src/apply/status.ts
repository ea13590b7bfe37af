/** Answers that are read from this member's state at once: Status and MemberList. */
import { ErrNoLeader } from "../errors/index.js";
import { serverVersionText, type MembershipStore } from "../membership/index.js";
import { encodeMemberListResponse, encodeStatusResponse } from "../proto/index.js";
import type { Backend } from "../storage/backend/index.js";
import type { MvccStore } from "../storage/mvcc/index.js";
import type { AlarmStore } from "./alarm-store.js";
import type { ReadsHeader } from "./messages.js";
import { defaultQuotaBytes } from "./quota.js";

export interface StatusSources {
  readonly clusterId: bigint;
  readonly localId: bigint;
  readonly quotaBackendBytes: number;
  readonly store: MvccStore;
  readonly backend: Backend;
  readonly membership: MembershipStore;
  readonly alarms: AlarmStore;
}

const alarmNames: Readonly<Record<number, string>> = { 1: "NOSPACE", 2: "CORRUPT" };

/** As Go prints the message, though Go's choice of one or two spaces changes from build to build. */
function alarmText(memberId: bigint, alarm: number): string {
  const member = memberId === 0n ? "" : `memberID:${memberId} `;
  return `${member}alarm:${alarmNames[alarm] ?? alarm}`;
}

/** A StatusResponse. `appliedIndex` is this member's own. */
export function encodeStatus(sources: StatusSources, header: ReadsHeader, appliedIndex: number): Uint8Array {
  const { store, backend, membership, alarms, quotaBackendBytes } = sources;
  const sizes = backend.sizes();
  const noLeader = header.leaderId === 0n ? [ErrNoLeader.message] : [];
  return encodeStatusResponse({
    header: {
      clusterId: sources.clusterId,
      memberId: sources.localId,
      revision: store.currentRevision,
      raftTerm: header.raftTerm,
    },
    version: serverVersionText,
    dbSize: sizes.total,
    leader: header.leaderId,
    raftIndex: header.commitIndex,
    raftTerm: header.raftTerm,
    raftAppliedIndex: appliedIndex,
    errors: [...noLeader, ...alarms.all.map(({ memberId, alarm }) => alarmText(memberId, alarm))],
    dbSizeInUse: sizes.inUse,
    isLearner: membership.localIsLearner,
    storageVersion: membership.storageVersion,
    dbSizeQuota: quotaBackendBytes === 0 ? defaultQuotaBytes : quotaBackendBytes,
    downgradeInfo: membership.downgrade,
  });
}

/** A MemberListResponse: in order of ID, the header without a revision. */
export function encodeMemberList(sources: StatusSources, header: ReadsHeader): Uint8Array {
  return encodeMemberListResponse({
    header: { clusterId: sources.clusterId, memberId: sources.localId, raftTerm: header.raftTerm },
    members: sources.membership.sortedMembers().map((member) => ({
      ID: member.id,
      name: member.name,
      peerURLs: member.peerURLs,
      clientURLs: member.clientURLs,
      isLearner: member.isLearner,
    })),
  });
}
