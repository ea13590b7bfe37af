/** Who has been connected with this member for how long (etcd's etcdserver/util.go). */
import type { Member } from "../membership/index.js";
import type { Peers } from "./peers.js";

/** Whether the connection with `id` has lasted since `sinceMs`. */
export function isConnectedSince(peers: Peers, sinceMs: number, id: bigint): boolean {
  const active = peers.activeSince(id);
  return active !== null && active < sinceMs;
}

/** How many of `members` have been connected since then; this member always is. */
export function connectedSince(peers: Peers, sinceMs: number, localId: bigint, members: readonly Member[]): number {
  return members.filter(({ id }) => id === localId || isConnectedSince(peers, sinceMs, id)).length;
}

/** Whether a quorum of `members` has been connected since then. */
export function isQuorumConnectedSince(
  peers: Peers,
  sinceMs: number,
  localId: bigint,
  members: readonly Member[],
): boolean {
  return connectedSince(peers, sinceMs, localId, members) >= Math.floor(members.length / 2) + 1;
}

/** Of `candidates`, whoever has been connected for longest. */
export function longestConnected(peers: Peers, candidates: readonly Member[]): bigint | null {
  let longest: bigint | null = null;
  let oldest = Number.POSITIVE_INFINITY;
  for (const { id } of candidates) {
    const active = peers.activeSince(id);
    if (active === null || active >= oldest) continue;
    oldest = active;
    longest = id;
  }
  return longest;
}
