/**
 * Memory that the process holds and does not use.
 * Thread: any.
 */
import { addon } from "./addon.js";

// The addon is built from this tree, or published with this version.
const native = addon as { collectGarbage(): void; releaseMemory(): Promise<void> };

/**
 * Has each thread that has loaded the addon collect its garbage in small steps, begin within its next turn, and make
 * its heap smaller. V8 itself does so only when a heap has grown.
 */
export const collectGarbage: () => void = native.collectGarbage;

/**
 * Gives back free memory of `malloc`, and pages of Node's program that nobody has touched for a while; those that are
 * needed again come back by minor faults. Runs on a thread of libuv's pool.
 */
export const releaseMemory: () => Promise<void> = native.releaseMemory;
