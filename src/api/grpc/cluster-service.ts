/**
 * etcdserverpb.Cluster's changes, and of Maintenance what is about the cluster: MoveLeader and Downgrade.
 * A call that its client gives up is answered no more; what it has asked for may happen all the same.
 * Thread: main.
 */
import type { EtcdError } from "../../errors/index.js";
import type { Member } from "../../membership/index.js";
import {
  decodeDowngradeRequest,
  decodeMemberAddRequest,
  decodeMemberPromoteRequest,
  decodeMemberRemoveRequest,
  decodeMemberUpdateRequest,
  decodeMoveLeaderRequest,
  DowngradeRequestDescriptor,
  encodeDowngradeResponse,
  encodeMemberAddResponse,
  encodeMemberPromoteResponse,
  encodeMemberRemoveResponse,
  encodeMemberUpdateResponse,
  encodeMoveLeaderResponse,
  MemberAddRequestDescriptor,
  MemberPromoteRequestDescriptor,
  MemberRemoveRequestDescriptor,
  MemberUpdateRequestDescriptor,
  MoveLeaderRequestDescriptor,
  type MemberInit,
  type ResponseHeaderInit,
} from "../../proto/index.js";
import type { ConfChangeDone, EtcdServer } from "../../server/index.js";

/** What each call's message must be. */
export const clusterRequests = {
  memberAdd: MemberAddRequestDescriptor,
  memberRemove: MemberRemoveRequestDescriptor,
  memberUpdate: MemberUpdateRequestDescriptor,
  memberPromote: MemberPromoteRequestDescriptor,
  moveLeader: MoveLeaderRequestDescriptor,
  downgrade: DowngradeRequestDescriptor,
} as const;
export type ClusterMethod = keyof typeof clusterRequests;

/** Encodes the answer to a change after which the members are these. */
type EncodeMembers = (response: { header: ResponseHeaderInit; members: MemberInit[] }) => Uint8Array;

export class ClusterService {
  readonly #server: EtcdServer;
  /** Calls under way, and what ends the wait for their outcome. */
  readonly #calls = new Map<number, () => void>();

  constructor(server: EtcdServer) {
    this.#server = server;
  }

  memberAdd(callId: number, bytes: Uint8Array, start: number, end: number): void {
    const { peerURLs, isLearner } = decodeMemberAddRequest(bytes, start, end);
    this.#begin(callId, () =>
      this.#reconfiguration.add(peerURLs, isLearner, (outcome, added) => {
        const encode: EncodeMembers = (response) => encodeMemberAddResponse({ ...response, member: protoOf(added!) });
        this.#ended(callId, encode)(outcome);
      }),
    );
  }

  memberRemove(callId: number, bytes: Uint8Array, start: number, end: number): void {
    const { ID } = decodeMemberRemoveRequest(bytes, start, end);
    this.#begin(callId, () => this.#reconfiguration.remove(ID, this.#ended(callId, encodeMemberRemoveResponse)));
  }

  memberUpdate(callId: number, bytes: Uint8Array, start: number, end: number): void {
    const { ID, peerURLs } = decodeMemberUpdateRequest(bytes, start, end);
    const done = this.#ended(callId, encodeMemberUpdateResponse);
    this.#begin(callId, () => this.#reconfiguration.update(ID, peerURLs, done));
  }

  memberPromote(callId: number, bytes: Uint8Array, start: number, end: number): void {
    const { ID } = decodeMemberPromoteRequest(bytes, start, end);
    this.#begin(callId, () => this.#reconfiguration.promote(ID, this.#ended(callId, encodeMemberPromoteResponse)));
  }

  moveLeader(callId: number, bytes: Uint8Array, start: number, end: number): void {
    const { targetID } = decodeMoveLeaderRequest(bytes, start, end);
    const done = (error: EtcdError | null): void => {
      if (error === null) this.#answer(callId, encodeMoveLeaderResponse({}));
      else this.#fail(callId, error);
    };
    this.#begin(callId, () => this.#server.core.cluster.transfer.move(targetID, done));
  }

  downgrade(callId: number, bytes: Uint8Array, start: number, end: number): void {
    const { action, version } = decodeDowngradeRequest(bytes, start, end);
    this.#begin(callId, () => {
      this.#server.core.cluster.downgrades.request(action, version, (answer) => {
        if ("error" in answer) return this.#fail(callId, answer.error);
        // The header needs the store's revision, which apply knows.
        if (this.#calls.delete(callId)) this.#server.core.answerWithHeader(callId, encodeDowngradeResponse(answer));
      });
      return () => {};
    });
  }

  /** The caller is gone. */
  cancel(callId: number): void {
    const giveUp = this.#calls.get(callId);
    this.#calls.delete(callId);
    giveUp?.();
  }

  get #reconfiguration(): EtcdServer["core"]["cluster"]["reconfiguration"] {
    return this.#server.core.cluster.reconfiguration;
  }

  /** `run` may end the call at once. */
  #begin(callId: number, run: () => () => void): void {
    this.#calls.set(callId, () => {});
    const giveUp = run();
    if (this.#calls.has(callId)) this.#calls.set(callId, giveUp);
  }

  #ended(callId: number, encode: EncodeMembers): ConfChangeDone {
    return ({ members, error }) => {
      if (error !== null) return this.#fail(callId, error);
      const { clusterId, memberId, core } = this.#server;
      const header = { clusterId, memberId, raftTerm: core.term };
      this.#answer(callId, encode({ header, members: members.map(protoOf) }));
    };
  }

  #answer(callId: number, message: Uint8Array): void {
    if (this.#calls.delete(callId)) this.#server.replies.answer(callId, message);
  }

  #fail(callId: number, error: EtcdError): void {
    if (this.#calls.delete(callId)) this.#server.replies.error(callId, error);
  }
}

function protoOf({ id, name, peerURLs, clientURLs, isLearner }: Member): MemberInit {
  return { ID: id, name, peerURLs, clientURLs, isLearner };
}
