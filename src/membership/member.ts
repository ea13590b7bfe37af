/**
 * One member of the cluster, its ID, and its two JSON forms (backend row, ConfChange context).
 * IDs are uint64; as JSON numbers they pass 2^53, so they are written and read as bigint.
 */
import { createHash } from "node:crypto";

/** A member as every member knows it. */
export interface Member {
  readonly id: bigint;
  /** Empty: it has never started. */
  readonly name: string;
  readonly peerURLs: readonly string[];
  readonly clientURLs: readonly string[];
  readonly isLearner: boolean;
}

function firstUint64(digest: Buffer): bigint {
  return digest.readBigUInt64BE(0);
}

/**
 * The ID that etcd gives: SHA-1 over the sorted peer URLs and the cluster token.
 * At MemberAdd the token is "" and `unixSeconds` makes the ID unique; a bootstrap member has none.
 */
export function memberIdOf(peerURLs: readonly string[], clusterToken: string, unixSeconds?: number): bigint {
  const sorted = [...peerURLs].map((url) => Buffer.from(url)).sort(Buffer.compare);
  const hash = createHash("sha1");
  for (const url of sorted) hash.update(url);
  hash.update(clusterToken);
  if (unixSeconds !== undefined) hash.update(String(unixSeconds));
  return firstUint64(hash.digest());
}

/** The cluster's ID: SHA-1 over the bootstrap members' IDs in ascending order. */
export function clusterIdOf(memberIds: Iterable<bigint>): bigint {
  const ids = [...memberIds].sort((a, b) => (a < b ? -1 : a > b ? 1 : 0));
  const bytes = Buffer.alloc(8 * ids.length);
  ids.forEach((id, i) => bytes.writeBigUInt64BE(id, 8 * i));
  return firstUint64(createHash("sha1").update(bytes).digest());
}

/** As in rows, logs and URLs: lowercase hex without padding. */
export function memberIdText(id: bigint): string {
  return id.toString(16);
}
