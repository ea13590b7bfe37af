/**
 * The rebuild thread: makes a new LMDB environment beside the one in use and puts it in its place.
 *
 * A crash at any moment leaves one whole environment in the folder: the new one is elsewhere until it is flushed, and
 * takes the other's place by one rename. The former one stays open here until the end, so that the apply thread does
 * not have to unmap it and its pages are not freed on that thread.
 */
import { statfsSync, statSync } from "node:fs";
import { BoltFile } from "../../bolt/index.js";
import {
  buckets,
  EnvironmentCopy,
  EnvironmentWriter,
  PinnedReader,
  rebuildDirectory,
  RebuildError,
  removeRebuild,
  replaceEnvironment,
  StoreDamagedError,
  type Bucket,
} from "../backend/index.js";
import type { FromRebuild, RebuildInit, ToRebuild } from "./rebuild-messages.js";
import { checkSnapshotFile, entriesOf } from "./snapshot-file.js";

/** Left free beside the copy: below it the member would refuse writes. */
const freeBytesMin = 320 << 20;
/** Other messages get their turn after so long. */
const turnMs = 5;
/** After a write transaction the disk is left alone for so many times as long as it took, so much at most. */
const restShare = 2;
const restMsMax = 100;
/** A write transaction of what a file holds. */
const transactionBytes = 2 << 20;

/** Moments at which a crash must leave a whole environment; in order. A build has no "copied". */
export type RebuildPoint = "started" | "copied" | "flushed" | "replaced" | "ended";

export interface RebuildSurroundings {
  readonly post: (message: FromRebuild) => void;
  /** Resolves after so long; 0: after what else waits on this thread. */
  readonly sleep: (milliseconds: number) => Promise<void>;
  /** Bytes that may still be written where the environment is. */
  readonly freeBytes?: (directory: string) => number;
  /** Called at each of these moments; a test ends the process there. */
  readonly at?: (point: RebuildPoint) => void;
}

export class RebuildThread {
  readonly #init: RebuildInit;
  readonly #surroundings: RebuildSurroundings;
  #former: PinnedReader | null = null;
  #writer: EnvironmentWriter | null = null;
  #copy: EnvironmentCopy | null = null;
  #turnEnds = 0;
  #cancelled = false;
  #replacing = false;

  constructor(init: RebuildInit, surroundings: RebuildSurroundings) {
    this.#init = init;
    this.#surroundings = surroundings;
  }

  /** Handles a message of apply's; true when the thread has ended. */
  async handle(message: ToRebuild): Promise<boolean> {
    if (message.type === "cancel") {
      this.#cancelled = true;
      return false;
    }
    const { post } = this.#surroundings;
    try {
      await this.#do(message);
      post({ type: "done" });
    } catch (error) {
      const isFatal = this.#replacing || error instanceof StoreDamagedError;
      post({ type: "failed", message: (error as Error).message, isFatal });
    }
    return message.type === "end";
  }

  #do(message: Exclude<ToRebuild, { type: "cancel" }>): Promise<void> | void {
    switch (message.type) {
      case "copy":
        return this.#copyMost();
      case "finish":
        return this.#finishCopy();
      case "check":
        return checkSnapshotFile(message.file, message.position);
      case "build":
        return this.#build(message.file);
      case "replace":
        return this.#replace();
      case "end":
        return this.#end();
    }
  }

  async #copyMost(): Promise<void> {
    const into = this.#newEnvironment(this.#init.bytesInUse);
    this.#turnEnds = performance.now() + turnMs;
    this.#copy = new EnvironmentCopy({
      from: this.#openFormer(),
      into,
      bytesInUse: this.#init.bytesInUse,
      turn: () => this.#turn(),
      rest: (tookMs) => this.#rest(Math.min(restMsMax, tookMs * restShare)),
    });
    await this.#copy.copy();
    this.#at("copied");
  }

  async #finishCopy(): Promise<void> {
    await this.#copy!.finish();
    this.#at("flushed");
    this.#replace();
  }

  /** Builds what a snapshot's file holds, which was checked when it came. */
  async #build(path: string): Promise<void> {
    const into = this.#newEnvironment(statSync(path).size);
    const file = BoltFile.open(path);
    this.#turnEnds = performance.now() + turnMs;
    try {
      for (const bucket of buckets) await this.#buildBucket(file, bucket, into);
    } finally {
      file.close();
    }
    await into.flush();
    this.#at("flushed");
  }

  async #buildBucket(file: BoltFile, bucket: Bucket, into: EnvironmentWriter): Promise<void> {
    for (const { key, value } of entriesOf(file, bucket)) {
      into.put(bucket, key, value, true);
      if (into.bytes >= transactionBytes) await this.#flushed(into);
      else if (performance.now() >= this.#turnEnds) await this.#rest(0);
    }
  }

  async #flushed(into: EnvironmentWriter): Promise<void> {
    const began = performance.now();
    await into.flush();
    await this.#rest(Math.min(restMsMax, performance.now() - began));
  }

  #replace(): void {
    this.#openFormer();
    this.#checkCancelled();
    this.#replacing = true;
    replaceEnvironment(this.#init.directory);
    this.#replacing = false;
    this.#at("replaced");
  }

  #end(): void {
    this.#writer?.close();
    void this.#former?.close();
    if (this.#writer !== null) removeRebuild(this.#init.directory);
    this.#at("ended");
  }

  /** From now on this thread, too, has the former environment open. */
  #openFormer(): PinnedReader {
    return (this.#former ??= new PinnedReader(this.#init.directory));
  }

  /** A new one, for so many bytes. Throws when there is no room for them. */
  #newEnvironment(bytes: number): EnvironmentWriter {
    const { directory, quotaBytes } = this.#init;
    const free = (this.#surroundings.freeBytes ?? freeBytesOf)(directory);
    const needed = bytes + freeBytesMin;
    if (free < needed) {
      throw new RebuildError(
        `not enough disk space: ${needed} bytes are needed in ${directory}, ${free} are free`,
        false,
      );
    }
    removeRebuild(directory);
    this.#writer = new EnvironmentWriter({ directory: rebuildDirectory(directory), quotaBytes });
    this.#at("started");
    return this.#writer;
  }

  /** Lets messages in when a turn is over. */
  #turn(): Promise<void> | undefined {
    return performance.now() < this.#turnEnds ? undefined : this.#rest(0);
  }

  async #rest(milliseconds: number): Promise<void> {
    await this.#surroundings.sleep(milliseconds);
    this.#turnEnds = performance.now() + turnMs;
    this.#checkCancelled();
  }

  #checkCancelled(): void {
    if (this.#cancelled) throw new RebuildError("the member is stopping", false);
  }

  #at(point: RebuildPoint): void {
    this.#surroundings.at?.(point);
  }
}

function freeBytesOf(directory: string): number {
  const { bavail, bsize } = statfsSync(directory);
  return bavail * bsize;
}
