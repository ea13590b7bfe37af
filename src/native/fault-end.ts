/**
 * The end of a process whose database cannot be read through LMDB's map; `native/core/src/fault_end/` says how.
 * Thread: main, once; it holds for all threads.
 */
import { addon } from "./addon.js";

// The addon is built from this tree, or published with this version.
const native = addon as { endByNameOnFaults(): void };

/**
 * From now on a page that the disk cannot give, or that leads LMDB astray, ends the process with a fatal line on stderr
 * and 1 instead of by a signal alone. Call it once everything else that handles SIGSEGV is there (Node's own does).
 */
export const endByNameOnFaults: () => void = native.endByNameOnFaults;
