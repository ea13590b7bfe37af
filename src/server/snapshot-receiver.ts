/**
 * Takes snapshots from other members: the file is written and flushed, then read as a whole and checked, before Raft
 * hears of it. What is damaged, cut short or not what its message says is refused, and nothing is changed by it.
 *
 *   member/snap/<index>.snap.db.tmp-<n>   on its way
 *   member/snap/<index>.snap.db           whole, flushed and checked; needed until the store holds it
 *
 * Thread: main; files are written on the pool's threads and checked on one of their own.
 */
import { randomUUID } from "node:crypto";
import { mkdir, open, readdir, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import type { Logger } from "../base/index.js";
import { memberIdText } from "../membership/index.js";
import type { Histogram, Registry } from "../metrics/index.js";
import type { Message } from "../raft/index.js";
import { checkOnThread, SnapshotFileError, snapshotIndexOf, snapshotPath } from "../storage/snap/index.js";

/** Files on their way at a time; each sender has one for this member. */
const receivingMax = 4;

export interface SnapshotReceiverOptions {
  /** member/snap. */
  readonly directory: string;
  /** Gives the message to Raft; false: it does not want the snapshot. */
  readonly step: (message: Message) => boolean;
  readonly registry: Registry;
  readonly logger: Logger;
}

export class SnapshotReceiver {
  readonly #options: SnapshotReceiverOptions;
  readonly #syncs: Histogram;
  readonly #saves: Histogram;
  #receiving = 0;

  constructor(options: SnapshotReceiverOptions) {
    this.#options = options;
    this.#syncs = options.registry.histogram("etcd_snap_db_fsync_duration_seconds");
    this.#saves = options.registry.histogram("etcd_snap_db_save_total_duration_seconds");
  }

  /**
   * Takes a MsgSnap and its file. Resolves when the file is kept and Raft has the message; rejects, SnapshotFileError
   * when the file is not what it should be, when it is not: the sender may try again.
   */
  async receive(message: Message, pieces: AsyncIterable<Uint8Array>): Promise<void> {
    if (message.snapshot === null) throw new SnapshotFileError("a message without a snapshot");
    if (this.#receiving >= receivingMax) throw new Error("too many snapshots are being received");
    const { step, logger } = this.#options;
    const { index, term } = message.snapshot;
    const about = { "incoming-snapshot-index": index, "remote-snapshot-sender-id": memberIdText(message.from) };
    logger.info("receiving database snapshot", about);
    this.#receiving++;
    try {
      const bytes = await this.#keep({ index, term }, pieces);
      logger.info("received and saved database snapshot", { ...about, "incoming-snapshot-size-bytes": bytes });
      if (!step(message)) await rm(snapshotPath(this.#options.directory, index), { force: true });
    } catch (error) {
      logger.error("failed to save incoming database snapshot", { ...about, error: (error as Error).message });
      throw error;
    } finally {
      this.#receiving--;
    }
  }

  /** Writes, checks and names the file. */
  async #keep(position: { index: number; term: number }, pieces: AsyncIterable<Uint8Array>): Promise<number> {
    const { directory } = this.#options;
    await mkdir(directory, { recursive: true, mode: 0o700 });
    const path = snapshotPath(directory, position.index);
    const temporary = `${path}.tmp-${randomUUID()}`;
    const began = performance.now();
    try {
      const bytes = await this.#writeFlushed(temporary, pieces);
      this.#saves.observe((performance.now() - began) / 1000);
      await checkOnThread(temporary, position);
      await rename(temporary, path);
      await syncFolder(directory);
      return bytes;
    } catch (error) {
      await rm(temporary, { force: true });
      throw error;
    }
  }

  async #writeFlushed(path: string, pieces: AsyncIterable<Uint8Array>): Promise<number> {
    const file = await open(path, "wx", 0o600);
    try {
      let bytes = 0;
      for await (const piece of pieces) {
        await file.writeFile(piece);
        bytes += piece.length;
      }
      const began = performance.now();
      await file.sync();
      this.#syncs.observe((performance.now() - began) / 1000);
      return bytes;
    } finally {
      await file.close();
    }
  }
}

async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, "r");
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

/** Removes files that the store, which holds all up to `index`, does not need any more, and what was cut short. */
export async function removeOldSnapshots(directory: string, index: number): Promise<void> {
  const names = await readdir(directory).catch(() => []);
  for (const name of names) {
    const of = snapshotIndexOf(name);
    if (of > index || (of === -1 && !name.includes(".snap.db.tmp-"))) continue;
    await rm(join(directory, name), { force: true });
  }
}
