/**
 * bbolt database files, as etcd keeps and sends them: written in one pass from sorted buckets, read with every byte
 * checked, and verified as `bbolt check` does.
 *
 * Thread: any; nothing here waits or knows of a clock. A writer's and a file's user give each other turns by steps.
 * Invariants: a file is `layout.fileBytes` long, to the byte; memory does not grow with the file; nothing that a file
 * says is trusted: damage is a BoltError.
 */
export { BoltFile, type BoltEntry, type BucketHeader, type ByteSource } from "./bolt-file.js";
export { checkBolt, type BoltFinding } from "./check.js";
export { BoltError, type BoltFault } from "./errors.js";
export {
  sizeBuckets,
  writeBuckets,
  type BoltLayout,
  type BoltWriterOptions,
  type BucketSource,
  type EntryCursor,
} from "./file-writer.js";
export { PageOutput } from "./page-output.js";
