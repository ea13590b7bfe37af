/**
 * The end of a process that must not write any more.
 * Thread: any.
 */
import { addon } from "./addon.js";

// The addon is built from this tree, or published with this version.
const native = addon as { exitNow(code: number): void };

/**
 * Ends the process with `code` at once: no exit handler, cleanup hook or flush of any library runs. For failed writes
 * to disk: LMDB's own cleanup flushes again, and could confirm what its first flush lost.
 */
export const exitNow: (code: number) => void = native.exitNow;
