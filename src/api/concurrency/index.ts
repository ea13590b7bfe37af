/**
 * Locks and elections as etcd's server makes them of keys, leases and watches: v3lock and v3election.
 * A contender's key is name + "/" + its lease in hex; who has the lowest create revision of the prefix holds the lock
 * or leads, and the others wait for the key just older than theirs to go.
 * Invariants: no I/O of its own, all goes by the client that is passed in; a contender that gives up while it waits
 * leaves no key behind. Errors are EtcdErrors with etcd's code and text.
 */
export type { ConcurrencyClient } from "./client.js";
export { campaign, leader, observe, proclaim, resign } from "./election.js";
export { lock, unlock } from "./lock.js";
export { readBytesMax } from "./requests.js";
