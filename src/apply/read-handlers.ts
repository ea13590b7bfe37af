/** Which of the reads that come to the apply thread is which. */

/** What a method index asks for. */
export type Handler =
  | "range"
  | "rangeStream"
  | "txn"
  | "status"
  | "hash"
  | "hashKv"
  | "defragment"
  | "memberList"
  | "watch"
  | "unknown";

export const handlers: Readonly<Record<string, Handler>> = {
  "/etcdserverpb.KV/Range": "range",
  "/etcdserverpb.KV/RangeStream": "rangeStream",
  "/etcdserverpb.KV/Txn": "txn",
  "/etcdserverpb.Maintenance/Status": "status",
  "/etcdserverpb.Maintenance/Hash": "hash",
  "/etcdserverpb.Maintenance/HashKV": "hashKv",
  "/etcdserverpb.Maintenance/Defragment": "defragment",
  "/etcdserverpb.Cluster/MemberList": "memberList",
  "/etcdserverpb.Watch/Watch": "watch",
};
