/** Names of threads, for `top -H` and profilers. */
import { writeFileSync } from "node:fs";

/** Gives the calling thread a name of at most 15 bytes where the system keeps one (Linux). */
export function nameThread(name: string): void {
  try {
    writeFileSync("/proc/thread-self/comm", name);
  } catch {
    // Elsewhere threads go without a name.
  }
}
