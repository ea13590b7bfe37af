/**
 * Memory that the process holds and does not use.
 * Thread: any.
 */
import { addon } from "./addon.js";

// The addon is built from this tree, or published with this version.
const native = addon as { releaseMemory(): Promise<void> };

/**
 * Gives back free memory of `malloc`, and pages of Node's program that nobody has touched for a while; those that are
 * needed again come back by minor faults. Runs on a thread of libuv's pool.
 */
export const releaseMemory: () => Promise<void> = native.releaseMemory;
