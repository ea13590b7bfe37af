/** What a learner serves: it answers what it can without the others, and hands out its data. */
import type { CallBatchReader } from "../../native/index.js";
import { decodeRangeRequest, RangeRequestDescriptor, validate } from "../../proto/index.js";
import { servedMethods } from "./methods.js";

/** Whether a learner answers the call that the reader stands at. */
export function isForLearners({ method, bytes, messageStart, messageEnd }: CallBatchReader): boolean {
  const { path } = servedMethods[method]!;
  if (path === "/etcdserverpb.Maintenance/Status" || path === "/etcdserverpb.Maintenance/Snapshot") return true;
  if (path !== "/etcdserverpb.KV/Range") return false;
  // What cannot be parsed is said to be so.
  if (validate(RangeRequestDescriptor, bytes, messageStart, messageEnd) !== undefined) return true;
  return decodeRangeRequest(bytes, messageStart, messageEnd).serializable;
}
