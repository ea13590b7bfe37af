/**
 * The door for snapshots between members. Out: Raft's message goes with the store as it is now, as a bbolt file, and
 * its metadata become those of the file, as etcd merges them. In: `SnapshotReceiver`. How both travel is the
 * transport's business. Thread: main.
 */
import type { Logger } from "../base/index.js";
import { formatV2Store, memberIdText, parseConfState, parseMember } from "../membership/index.js";
import type { Message } from "../raft/index.js";
import type { OutgoingSnapshot, SnapshotState } from "../storage/snap/index.js";
import type { Transport } from "./raft-loop.js";

/** The way to other members. */
export interface PeerTransport extends Transport {
  /** Resolves when the other member has kept the file and taken the message; rejects when it has not. */
  sendSnapshot(message: Message, file: OutgoingSnapshot): Promise<void>;
}

export interface PeerSnapshotsOptions {
  readonly openFile: () => Promise<OutgoingSnapshot>;
  readonly transport: PeerTransport;
  readonly logger: Logger;
}

/** Sends the message with the present state. Rejects when the other member does not get both. */
export async function sendSnapshot(
  message: Message,
  { openFile, transport, logger }: PeerSnapshotsOptions,
): Promise<void> {
  const file = await openFile();
  try {
    const { index, term, confState, fileBytes } = file.state;
    if (index < message.snapshot!.index) throw new Error(`the store stands at entry ${index} only`);
    const about = { "snapshot-index": index, "remote-peer-id": memberIdText(message.to), bytes: fileBytes };
    logger.info("sending database snapshot", about);
    const snapshot = { index, term, confState: parseConfState(confState), data: v2StoreOf(file.state) };
    await transport.sendSnapshot({ ...message, snapshot }, file);
    logger.info("sent database snapshot", about);
  } finally {
    file.drop();
  }
}

/** The membership as etcd puts it into the message. */
function v2StoreOf({ members, removedMembers, clusterVersion }: SnapshotState): Uint8Array {
  const textOf = (bytes: Uint8Array): string => Buffer.from(bytes).toString();
  return formatV2Store({
    members: members.map(parseMember),
    removed: removedMembers.map((key) => BigInt(`0x${textOf(key)}`)),
    clusterVersion: clusterVersion === null ? null : textOf(clusterVersion),
  });
}

/** A cluster of one has nobody to send to. */
export class NoPeers implements PeerTransport {
  readonly #logger: Logger;
  readonly #warned = new Set<bigint>();

  constructor(logger: Logger) {
    this.#logger = logger;
  }

  send(messages: readonly Message[]): void {
    for (const { to } of messages) {
      if (this.#warned.has(to)) continue;
      this.#warned.add(to);
      this.#logger.warn("messages without a peer: this version does not reach other members", { to: memberIdText(to) });
    }
  }

  sendSnapshot(message: Message): Promise<void> {
    return Promise.reject(new Error(`no way to member ${memberIdText(message.to)}`));
  }
}
