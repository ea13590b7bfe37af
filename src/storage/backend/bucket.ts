/**
 * The buckets of the backend and the keys of `meta`, under etcd's own names: what is stored is what
 * a bbolt file of etcd would hold, so that a snapshot is a mechanical copy.
 */

/** Every bucket; `key` holds the revisions and is written by the record calls only. */
export const Bucket = {
  Key: "key",
  Meta: "meta",
  Members: "members",
  MembersRemoved: "members_removed",
  Cluster: "cluster",
  Alarm: "alarm",
  Auth: "auth",
  AuthUsers: "authUsers",
  AuthRoles: "authRoles",
  Lease: "lease",
} as const;
export type Bucket = (typeof Bucket)[keyof typeof Bucket];

/** The buckets whose entries are few and small; `key` is the other kind. */
export type SmallBucket = Exclude<Bucket, "key">;

export const smallBuckets: readonly SmallBucket[] = [
  Bucket.Meta,
  Bucket.Members,
  Bucket.MembersRemoved,
  Bucket.Cluster,
  Bucket.Alarm,
  Bucket.Auth,
  Bucket.AuthUsers,
  Bucket.AuthRoles,
  Bucket.Lease,
];

/** All buckets, in the order of their names' bytes (the order in which the whole-store hash walks them). */
export const buckets: readonly Bucket[] = [Bucket.Key, ...smallBuckets].toSorted((a, b) => (a < b ? -1 : 1));

const encoder = new TextEncoder();

/** Keys of the `meta` bucket. */
export const metaKey = {
  consistentIndex: encoder.encode("consistent_index"),
  term: encoder.encode("term"),
  confState: encoder.encode("confState"),
  storageVersion: encoder.encode("storageVersion"),
  scheduledCompactRevision: encoder.encode("scheduledCompactRev"),
  finishedCompactRevision: encoder.encode("finishedCompactRev"),
} as const;

/** In the bucket `cluster`. */
export const clusterVersionKey = encoder.encode("clusterVersion");
