/**
 * Entries about the cluster rather than its keys: membership, attributes, versions, alarms.
 * They are rare, so they are decoded whole; main hears of each by the worker's port.
 */
import { ConfChangeType, parseConfChangeContext, type ConfChange, type MembershipStore } from "../membership/index.js";
import { ReplyKind, type ReplyBatchWriter } from "../native/index.js";
import {
  AlarmAction,
  AlarmType,
  decodeAlarmRequest,
  decodeClusterMemberAttrSetRequest,
  decodeClusterVersionSetRequest,
  decodeConfChange,
  decodeDowngradeInfoSetRequest,
  encodeAlarmResponse,
  type AlarmRequest,
} from "../proto/index.js";
import type { MvccStore } from "../storage/mvcc/index.js";
import type { AlarmStore } from "./alarm-store.js";
import type { ActiveAlarm, FromApply } from "./control.js";
import type { ApplyMetrics } from "./metrics.js";
import type { HeaderWriter } from "./response.js";

export interface ClusterApplierOptions {
  readonly store: MvccStore;
  readonly membership: MembershipStore;
  readonly alarms: AlarmStore;
  readonly replies: ReplyBatchWriter;
  readonly header: HeaderWriter;
  readonly localId: bigint;
  readonly metrics: ApplyMetrics;
  readonly post: (event: FromApply) => void;
}

export class ClusterApplier {
  readonly #options: ClusterApplierOptions;

  constructor(options: ClusterApplierOptions) {
    this.#options = options;
  }

  /** The ConfState to store with the entry; undefined when the change was refused. */
  confChange(index: number, bytes: Uint8Array, start: number, end: number): Uint8Array | undefined {
    const { membership, localId, post } = this.#options;
    const change = readConfChange(bytes, start, end);
    const refusal = membership.apply(change);
    post({
      type: "confChange",
      index,
      accepted: refusal === null,
      id: change.id,
      changeType: change.type,
      nodeId: refusal === null ? change.nodeId : 0n,
      refusal: refusal === null ? null : { code: refusal.code, message: refusal.message },
      confState: membership.confState ?? {
        voters: [],
        learners: [],
        votersOutgoing: [],
        learnersNext: [],
        autoLeave: false,
      },
      members: membership.sortedMembers(),
      removedSelf: refusal === null && change.type === ConfChangeType.RemoveNode && change.nodeId === localId,
    });
    return refusal === null ? membership.confStateBytes() : undefined;
  }

  clusterVersion(index: number, bytes: Uint8Array, start: number, end: number): void {
    const { membership, post } = this.#options;
    membership.setClusterVersion(decodeClusterVersionSetRequest(bytes, start, end).ver);
    post({ type: "clusterVersion", index, version: membership.clusterVersion ?? "" });
  }

  memberAttributes(index: number, bytes: Uint8Array, start: number, end: number): void {
    const { membership, post } = this.#options;
    const request = decodeClusterMemberAttrSetRequest(bytes, start, end);
    const attributes = request.memberAttributes;
    membership.setAttributes(request.memberID, attributes?.name ?? "", attributes?.clientUrls ?? []);
    post({ type: "members", index, members: membership.sortedMembers() });
  }

  downgradeInfo(index: number, bytes: Uint8Array, start: number, end: number): void {
    const { membership, post } = this.#options;
    const { enabled, ver } = decodeDowngradeInfoSetRequest(bytes, start, end);
    membership.setDowngrade(enabled, ver);
    post({ type: "downgrade", index, downgrade: membership.downgrade });
  }

  alarm(index: number, bytes: Uint8Array, start: number, end: number, callId: number): void {
    const { alarms, post, replies, header, store } = this.#options;
    const request = decodeAlarmRequest(bytes, start, end);
    const answered = this.#changeAlarm(request);
    if (request.action !== AlarmAction.GET) post({ type: "alarms", index, alarms: alarms.all });
    if (callId === 0) return;
    const rest = encodeAlarmResponse({
      alarms: answered.map(({ memberId, alarm }) => ({ memberID: memberId, alarm })),
    });
    const revision = store.currentRevision;
    const at = replies.begin(callId, ReplyKind.MessageAndEnd, header.size(revision) + rest.length);
    const restAt = header.write(revision, replies.bytes, at);
    replies.bytes.set(rest, restAt);
    replies.finish(restAt + rest.length);
  }

  /** The alarms that the answer names. */
  #changeAlarm(request: AlarmRequest): readonly ActiveAlarm[] {
    const { alarms, metrics } = this.#options;
    const { action, memberID, alarm } = request;
    if (action === AlarmAction.GET) return alarms.get(alarm);
    if (action === AlarmAction.ACTIVATE && alarm !== AlarmType.NONE) {
      metrics.alarm(memberID, alarm, 1);
      return [alarms.activate(memberID, alarm)];
    }
    const gone = action === AlarmAction.DEACTIVATE ? alarms.deactivate(memberID, alarm) : undefined;
    if (gone === undefined) return [];
    metrics.alarm(memberID, alarm, -1);
    return [gone];
  }
}

function readConfChange(bytes: Uint8Array, start: number, end: number): ConfChange {
  const { id, type, nodeId, context } = decodeConfChange(bytes, start, end);
  const known = Object.values(ConfChangeType).find((value) => value === (type ?? 0));
  if (known === undefined) throw new Error(`a committed ConfChange has the unknown type ${type}`);
  return {
    id: id ?? 0n,
    type: known,
    nodeId: nodeId ?? 0n,
    context: context === undefined || context.length === 0 ? null : parseConfChangeContext(context),
  };
}
