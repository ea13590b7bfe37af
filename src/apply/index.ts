/**
 * Apply: committed entry → state change, and the answers to those who wait for it; local reads.
 * Thread: a worker of its own (`apply.worker.ts`); main uses only the message formats below.
 * Invariants: the same entries give the same bytes in the backend on every member (no clock, chance or timer);
 * consistent_index is stored in the transaction that holds the entry's effects; an entry at or below it changes
 * no key again, but membership is remembered; every call named with an entry or read gets exactly one answer.
 */
export {
  ApplyMessageKind,
  ApplyMessageReader,
  ApplyMessageWriter,
  emptyProgress,
  nobodysCall,
  progressMessageBytes,
  readProgress,
  writeProgress,
  type ApplyProgress,
  type ReadsHeader,
} from "./messages.js";
export { LeaseCallWriter, LeaseOp } from "./lease-calls.js";
export { appliedBefore, leaseMessageBytesMax, readLeaseEvents } from "./lease-events.js";
export type { ActiveAlarm, ApplyInit, FromApply, InstallMark, Refusal, ToApply } from "./control.js";
export { ApplyThread, type ApplySurroundings, type BackendEvents } from "./apply-thread.js";
export { Quota, requestCost } from "./quota.js";
