/**
 * A lock on a file, held against other processes until released or until the process ends, however it ends.
 * Thread: any.
 */
import { addon } from "./addon.js";

/** As declared in native/addon/src/dir_lock.rs. */
export interface DirLock {
  /** False: another process holds it. */
  readonly held: boolean;
  release(): void;
}

// The addon is built from this tree, or published with this version.
const native = addon as { DirLock: { acquire(path: string): DirLock } };

export const DirLock = {
  /** Tries to lock the file at `path`, which is made if need be. Throws when the file cannot be opened. */
  acquire(path: string): DirLock {
    return native.DirLock.acquire(path);
  },
};
