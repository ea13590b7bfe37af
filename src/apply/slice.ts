/** What one turn of a long request may still do. Steps take a slice as their limits, and their work off it. */
import type { SliceLimits } from "../storage/mvcc/index.js";

/** About 1–2 ms of a long write. */
export const writeSlice: SliceLimits = { keys: 512, bytes: 256 << 10 };

export class Slice implements SliceLimits {
  /** Keys that may still be looked at, and bytes that may still be written. */
  keys = 0;
  bytes = 0;

  /** Starts a turn. */
  reset(limits: SliceLimits): void {
    this.keys = limits.keys;
    this.bytes = limits.bytes;
  }

  get isUsedUp(): boolean {
    return this.keys <= 0 || this.bytes <= 0;
  }
}
