/**
 * Membership: who belongs to the cluster, their IDs and URLs, the cluster version, and the rules that a change must
 * pass when it is applied.
 * Thread: pure functions anywhere; `MembershipStore` lives in apply, which stores it with the entry that changed it.
 * Invariants: a removed ID never comes back; two members share no ID and no peer URL.
 */
export { clusterIdOf, memberIdOf, memberIdText, type Member } from "./member.js";
export { applyConfChange, ConfChangeType, emptyConfState, type ConfState } from "./conf-state.js";
export {
  formatConfState,
  formatMember,
  formatPromoteContext,
  MembershipFormatError,
  parseConfChangeContext,
  parseConfState,
  parseMember,
  type ConfChangeContext,
} from "./member-json.js";
export {
  readyToAddVoter,
  readyToPromote,
  readyToRemoveVoter,
  validateConfChange,
  type ConfChange,
  type Membership,
} from "./rules.js";
export {
  MembershipError,
  MembershipStore,
  type DowngradeInfo,
  type MembershipStoreOptions,
} from "./membership-store.js";
export { parsePeerUrls } from "./peer-urls.js";
export { clusterVersionText, compareMajorMinor, parseVersion, serverVersionText, type Version } from "./version.js";
export { formatV2Store, type V2StoreContent } from "./v2-store.js";
