/**
 * What a member starts from: the identity and first entries of a new one, or the log of an old one.
 */
import { assert, EntryBatch, EntryType } from "../base/index.js";
import type { Config } from "../config/index.js";
import { clusterIdOf, formatMember, memberIdOf, type Member } from "../membership/index.js";
import { decodeMetadata, encodeConfChange, encodeMetadata } from "../proto/index.js";
import { emptyConfState, type ConfState, type HardState } from "../raft/index.js";
import { pairIdBytes } from "./data-dir.js";
import type { ReplayVisitor } from "../storage/wal/index.js";

/** Who this member is; kept in the WAL's metadata and never changed. */
export interface MemberIdentity {
  readonly memberId: bigint;
  readonly clusterId: bigint;
}

/** The cluster cannot be made from what the options say. */
export class BootstrapError extends Error {
  override readonly name = "BootstrapError";
}

/** A new cluster as --initial-cluster describes it. */
export interface NewCluster extends MemberIdentity {
  readonly members: readonly Member[];
}

/** Reads --initial-cluster: `name=url,name=url`, a name may repeat. Throws BootstrapError. */
export function parseInitialCluster(text: string, token: string): readonly Member[] {
  const urlsByName = new Map<string, string[]>();
  for (const pair of text.split(",")) {
    const at = pair.indexOf("=");
    if (at === -1) throw new BootstrapError(`"${pair.trim()}" in --initial-cluster is not of the form name=URL`);
    const name = pair.slice(0, at).trim();
    urlsByName.set(name, [...(urlsByName.get(name) ?? []), pair.slice(at + 1).trim()]);
  }
  return [...urlsByName].map(([name, urls]) => {
    const peerURLs = urls.sort();
    return { id: memberIdOf(peerURLs, token), name, peerURLs, clientURLs: [], isLearner: false };
  });
}

/** The new cluster that the options ask for. Throws BootstrapError. */
export function planNewCluster(config: Config): NewCluster {
  const members = parseInitialCluster(config.initialCluster, config.initialClusterToken);
  const self = members.find((member) => member.name === config.name);
  if (self === undefined) {
    throw new BootstrapError(`couldn't find local name "${config.name}" in the initial cluster configuration`);
  }
  const advertised = config.initialAdvertisePeerUrls.map((url) => url.text).sort();
  if (advertised.join(",") !== self.peerURLs.join(",")) {
    throw new BootstrapError(
      `--initial-cluster has ${self.name}=${self.peerURLs.join(",")} but --initial-advertise-peer-urls is ${advertised.join(",")}: make them equal`,
    );
  }
  if (members.length > 1 || config.initialClusterState === "existing") {
    throw new BootstrapError(
      "this version runs a cluster of one member only: leave --initial-cluster and --initial-cluster-state out",
    );
  }
  return { members, memberId: self.id, clusterId: clusterIdOf(members.map((member) => member.id)) };
}

/** The entries that every member of a new cluster writes first: one ConfChange AddNode a member, by ascending ID. */
export function firstEntries(members: readonly Member[]): EntryBatch {
  const sorted = [...members].sort((a, b) => (a.id < b.id ? -1 : 1));
  const data = sorted.map((member) =>
    // etcd's bootstrap entries have a type even though it is 0, and no id.
    encodeConfChange({ type: 0, nodeId: member.id, context: Buffer.from(formatMember(member)) }),
  );
  const ends = new Uint32Array(data.length);
  data.reduce((end, each, i) => (ends[i] = end + each.length), 0);
  return new EntryBatch({
    term: 1,
    firstIndex: 1,
    types: new Uint8Array(data.length).fill(EntryType.ConfChange),
    ends,
    bytes: Buffer.concat(data),
  });
}

/** What the WAL's metadata holds: the pair ID, then etcd's Metadata. */
export interface LogMetadata {
  readonly identity: MemberIdentity;
  /** Names this log in the folder of the database that belongs to it. */
  readonly pairId: Uint8Array;
}

export function encodeLogMetadata({ identity, pairId }: LogMetadata): Uint8Array {
  assert(pairId.length === pairIdBytes, "log metadata: length of the pair ID");
  return Buffer.concat([pairId, encodeMetadata({ NodeID: identity.memberId, ClusterID: identity.clusterId })]);
}

/** The log has passed its checksums, so this is what `encodeLogMetadata` made. */
export function decodeLogMetadata(bytes: Uint8Array): LogMetadata {
  const { NodeID, ClusterID } = decodeMetadata(bytes, pairIdBytes);
  return {
    identity: { memberId: NodeID ?? 0n, clusterId: ClusterID ?? 0n },
    pairId: Uint8Array.from(bytes.subarray(0, pairIdBytes)),
  };
}

/** Gathers what a WAL replay tells: the log behind the newest snapshot mark and the last hard state. */
export class ReplayedLog implements ReplayVisitor {
  hardState: HardState | null = null;
  /** The newest snapshot mark. */
  mark: { index: number; term: number; confState: ConfState } = { index: 0, term: 0, confState: emptyConfState };
  batches: EntryBatch[] = [];

  entriesRecord(batch: EntryBatch): void {
    this.#cutFrom(batch.firstIndex);
    const kept =
      batch.lastIndex <= this.mark.index
        ? null
        : batch.slice(Math.max(batch.firstIndex, this.mark.index + 1), batch.lastIndex);
    if (kept !== null) this.batches.push(kept);
  }

  hardStateRecord(state: HardState): void {
    this.hardState = state;
  }

  snapshotMark(mark: { index: number; term: number; confState: ConfState }): void {
    if (mark.index < this.mark.index) return;
    this.mark = mark;
    while (this.batches.length > 0 && this.batches[0]!.lastIndex <= mark.index) this.batches.shift();
    const first = this.batches[0];
    if (first !== undefined && first.firstIndex <= mark.index)
      this.batches[0] = first.slice(mark.index + 1, first.lastIndex);
  }

  get lastIndex(): number {
    return this.batches[this.batches.length - 1]?.lastIndex ?? this.mark.index;
  }

  /** The term of an entry behind the mark; 0 for others. */
  termOf(index: number): number {
    return this.batches.find((batch) => index >= batch.firstIndex && index <= batch.lastIndex)?.term ?? 0;
  }

  /** Entries written again replace those from there on, as Raft's log does (§5.3). */
  #cutFrom(index: number): void {
    while (this.batches.length > 0 && this.batches[this.batches.length - 1]!.firstIndex >= index) this.batches.pop();
    const last = this.batches[this.batches.length - 1];
    if (last !== undefined && last.lastIndex >= index)
      this.batches[this.batches.length - 1] = last.slice(last.firstIndex, index - 1);
  }
}
