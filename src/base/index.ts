/** Small pieces that every folder may use: assertions, the entry batch, logger and clock interfaces. */
export {
  addonFile,
  addonMissingText,
  addonName,
  addonPackage,
  addonPlatform,
  addonPlatforms,
  packageRoot,
} from "./addon-file.js";
export { AlarmBoard } from "./alarm-board.js";
export { assert, AssertionError, unreachable } from "./assert.js";
export { ByteSlab } from "./byte-slab.js";
export { copyOf } from "./copy-of.js";
export { EntryBatch, EntryType } from "./entry-batch.js";
export { hashOfBytes, KeyBytes } from "./key-bytes.js";
export { bytesText, clockText, durationText, nowMs } from "./log-text.js";
export { nameThread } from "./name-thread.js";
export {
  createLogger,
  isLogLevel,
  LogOutputError,
  type LogLevel,
  type LoggerOptions,
  type RootLogger,
} from "./pino-logger.js";
export { silentLogger, type LogFields, type Logger } from "./logger.js";
export { SeededPrng, type Prng } from "./prng.js";
export { ascending, sortInSlices } from "./sort-in-slices.js";
export { lineTable, sourcePlace, sourceStack, type LinePlace } from "./source-lines.js";
export { threadFile } from "./thread-file.js";
