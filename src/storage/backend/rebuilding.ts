/**
 * How a backend goes over to an environment that was built beside its own: it writes no transaction while the other
 * takes its place. One rebuild at a time.
 */
import { assert } from "../../base/index.js";
import type { LmdbCommitter } from "./lmdb-committer.js";
import { rebuildDirectory } from "./lmdb-file.js";
import type { LmdbBackendOptions } from "./lmdb-options.js";
import { RebuildError, type Rebuild } from "./rebuild.js";

export class Rebuilding {
  readonly #options: LmdbBackendOptions;
  readonly #committer: LmdbCommitter;
  readonly #fail: (error: Error) => void;
  #rebuild: Rebuild | null = null;
  /** The work under way. */
  #work: Promise<unknown> = Promise.resolve();

  /** `fail`: nothing may be written any more. */
  constructor(options: LmdbBackendOptions, committer: LmdbCommitter, fail: (error: Error) => void) {
    this.#options = options;
    this.#committer = committer;
    this.#fail = fail;
  }

  /** Copies the environment, of which so much is in use; `swap` goes over to the copy when it is in its place. */
  defragment(bytesInUse: number, swap: () => void): Promise<void> {
    const rebuild = this.#start(bytesInUse);
    return this.#run(async () => {
      try {
        await rebuild.copy();
        await this.#halted(() => rebuild.finish(), swap);
      } finally {
        await this.#end();
      }
    });
  }

  /** Builds an environment of what a file holds, and tells where it is; `replace` follows. */
  build(file: string): Promise<string> {
    const rebuild = this.#start(0);
    return this.#run(async () => {
      try {
        await rebuild.build(file);
        return rebuildDirectory(this.#options.directory);
      } catch (error) {
        await this.#end();
        throw error;
      }
    });
  }

  /** Puts what was built in place; `swap` goes over to it. */
  replace(swap: () => void): Promise<void> {
    const rebuild = this.#rebuild;
    assert(rebuild !== null, "backend: nothing was built");
    return this.#run(async () => {
      try {
        await this.#halted(() => rebuild.replace(), swap);
      } finally {
        await this.#end();
      }
    });
  }

  /** Ends what is under way, at a stop. */
  async cancel(): Promise<void> {
    this.#rebuild?.cancel();
    await this.#work.catch(() => {});
    await this.#end();
  }

  #start(bytesInUse: number): Rebuild {
    const { directory, quotaBytes, startRebuild } = this.#options;
    assert(startRebuild !== undefined, "backend: opened without a way to rebuild it");
    assert(this.#rebuild === null, "backend: a second rebuild at a time");
    this.#rebuild = startRebuild({ directory, quotaBytes, bytesInUse });
    return this.#rebuild;
  }

  #run<T>(work: () => Promise<T>): Promise<T> {
    const done = work();
    this.#work = done;
    return done;
  }

  async #halted(replace: () => Promise<void>, swap: () => void): Promise<void> {
    await this.#committer.halt();
    try {
      await replace();
      swap();
    } catch (error) {
      if (!(error instanceof RebuildError) || error.isFatal) {
        this.#fail(error as Error);
        throw error;
      }
      this.#committer.resume();
      throw error;
    }
    this.#committer.resume();
  }

  async #end(): Promise<void> {
    const rebuild = this.#rebuild;
    this.#rebuild = null;
    await rebuild?.end();
  }
}
