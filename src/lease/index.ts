/**
 * Leases: which there are and which keys are theirs (`LeaseTable`, on apply, from the log), and when they end
 * (`LeaseClock`, on main, at the leader). Neither knows the other: apply tells main of what it has applied, and main
 * proposes the revokes.
 * Invariants: the table follows from the log alone; no lease ends before its time but by a client's revoke.
 */
export { LeaseClock, Renewal } from "./lease-clock.js";
export { leaseIdOf, signedLeaseIdOf } from "./lease-id.js";
export { writeVarintHalves } from "./lease-record.js";
export { LeaseTable, minimumTtl, type LeaseObserver } from "./lease-table.js";
