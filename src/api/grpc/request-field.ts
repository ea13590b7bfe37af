/** Where a request that goes into the log stands in its entry. */

/** Fields of InternalRaftRequest. */
export const requestField = {
  put: 4,
  deleteRange: 5,
  txn: 6,
  compaction: 7,
  leaseGrant: 8,
  leaseRevoke: 9,
  alarm: 10,
} as const;
