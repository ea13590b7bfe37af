/**
 * Membership: who belongs to the cluster, their IDs and URLs, the cluster version, and the rules that a change must
 * pass when it is applied.
 * Thread: pure functions anywhere; the tables live in apply, which stores them with the entry that changed them.
 * Invariants: a removed ID never comes back; two members share no ID and no peer URL.
 */
export { clusterIdOf, memberIdOf, memberIdText, type Member } from "./member.js";
export { emptyConfState, type ConfState } from "./conf-state.js";
