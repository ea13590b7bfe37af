/**
 * The sole door to the addon: gRPC edge, mailboxes between threads, write-ahead log, checksums, folder locks.
 *
 * Thread: one addon image serves all JS threads of the process; each export says which thread may use it.
 * Invariants: what crosses is bytes and numbers, a batch at a time; Rust errors are mapped to classes here.
 */
export {
  CallBatchReader,
  CallFlag,
  CallKind,
  MetadataTag,
  callHeaderBytes,
  gatewayCallBit,
  writeCancelRecord,
} from "./call-batch.js";
export { crc32c } from "./crc.js";
export { DirLock } from "./dir-lock.js";
export {
  Edge,
  EdgeListenError,
  MethodKind,
  bulkReplyBatch,
  edgeCounters,
  edgeHandlingBounds,
  gatewaySubmit,
  pendingReplyBytes,
  replyBatch,
  setGatewayMailbox,
  startEdge,
  type ClientVersionCount,
  type EdgeMethod,
  type EdgeOptions,
} from "./edge.js";
export { entryChecksum, environmentFault, stampEntries } from "./environment.js";
export { exitNow } from "./exit-now.js";
export { endByNameOnFaults } from "./fault-end.js";
export { InboxBuffer, inboxBytesUsual, type Receive } from "./inbox-buffer.js";
export { Mailbox, mailboxPrefixBytes } from "./mailbox.js";
export { collectGarbage, releaseMemory } from "./memory.js";
export { RecordBuffer } from "./record-buffer.js";
export { ReplyBatchWriter, ReplyKind } from "./reply-batch.js";
export {
  WalFlag,
  createWalDoor,
  openWalDoor,
  walBuckets,
  walStatsNumbers,
  withWalErrors,
  type WalDoor,
  type WalDoorOptions,
  type WalRecovered,
} from "./wal.js";
export {
  WalAbsentError,
  WalCorruptError,
  WalError,
  WalExistsError,
  WalInvalidError,
  WalIoError,
  WalLockedError,
  walErrorOf,
} from "./wal-errors.js";
