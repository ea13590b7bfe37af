/** What a call is refused for before anything of its request is looked at: what etcd's interceptors check, in order. */
import {
  ErrInvalidClientApiVersion,
  ErrNoLeader,
  ErrNotCapable,
  ErrNotSupportedForLearner,
  type EtcdError,
} from "../../errors/index.js";
import { CallFlag } from "../../native/index.js";
import type { MemberCore } from "../../server/index.js";

/**
 * Null: the call or stream that has just come goes on. `flags` are the call's; `isKeptFromLearner`: the member is a
 * learner, and learners do not serve this.
 */
export function refusalOf(
  core: Pick<MemberCore, "clusterVersion" | "leader">,
  flags: number,
  isKeptFromLearner: boolean,
): EtcdError | null {
  if (core.clusterVersion === null) return new ErrNotCapable();
  if (isKeptFromLearner) return new ErrNotSupportedForLearner();
  if ((flags & CallFlag.BadClientApiVersion) !== 0) return new ErrInvalidClientApiVersion();
  if ((flags & CallFlag.RequireLeader) !== 0 && core.leader === 0n) return new ErrNoLeader();
  return null;
}
