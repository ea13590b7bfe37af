/** A member's surroundings for tests: its disk, its apply, the network and the clock do what the test says. */
import assert from "node:assert/strict";
import { emptyProgress, type ReadsHeader } from "../apply/index.js";
import { SeededPrng, silentLogger, type EntryBatch } from "../base/index.js";
import { loadConfig, type Config } from "../config/index.js";
import type { EtcdError } from "../errors/index.js";
import type { Member } from "../membership/index.js";
import { emptyConfState, none, type Message } from "../raft/index.js";
import type { WalAppend } from "../storage/wal/index.js";
import { firstEntries, ReplayedLog } from "./bootstrap.js";
import type { MemberState, MemberSurroundings } from "./member-surroundings.js";
import { noPeers } from "./peers.js";
import type { LogWriter } from "./raft-loop.js";

function membersOf(count: number): Member[] {
  return Array.from({ length: count }, (_, i) => {
    return { id: BigInt(i + 1), name: `m${i + 1}`, peerURLs: [`http://m${i + 1}:1`], clientURLs: [], isLearner: false };
  });
}

/** Of member 1 of some, whose bootstrap entries are applied. */
export class MemberRig {
  now = 1000;
  readonly progress = emptyProgress();
  readonly appends: WalAppend[] = [];
  readonly sent: Message[] = [];
  readonly handed: { readonly batch: EntryBatch; readonly callIds: readonly number[] }[] = [];
  readonly reads: { readonly header: ReadsHeader; readonly length: number }[] = [];
  readonly failed = new Map<number, EtcdError>();
  readonly fatals: string[] = [];
  readonly state: MemberState;
  readonly surroundings: MemberSurroundings;

  constructor(count: number, options: { readonly flags?: readonly string[]; readonly wal?: LogWriter } = {}) {
    const { config } = loadConfig([...(options.flags ?? [])], {}) as { config: Config };
    const members = membersOf(count);
    const log = new ReplayedLog();
    log.entriesRecord(firstEntries(members));
    log.hardStateRecord({ term: 1, vote: none, commit: count });
    Object.assign(this.progress, { appliedIndex: count, flushedIndex: count });
    this.state = { log, ready: readyOf(members) };
    this.surroundings = {
      config,
      identity: { memberId: 1n, clusterId: 9n },
      wal: options.wal ?? {
        append: (work) => this.appended(work),
        appendSnapshotMark: () => {},
        appendInstall: () => assert.fail("nobody sends a snapshot"),
        release: () => {},
      },
      apply: {
        blocked: false,
        progress: this.progress,
        entries: (batch, callIds) => void this.handed.push({ batch, callIds: [...callIds] }),
        install: () => assert.fail("nobody sends a snapshot"),
        reads: (header, _records, length) => void this.reads.push({ header, length }),
      },
      transport: { send: (messages) => void this.sent.push(...messages) },
      peers: noPeers,
      sendSnapshot: () => Promise.reject(new Error("nobody is there")),
      replies: { error: (callId, error) => void this.failed.set(callId, error), flush: () => {} },
      logger: silentLogger,
      prng: new SeededPrng(3),
      nowMs: () => this.now,
      startMs: 1,
      wallMs: () => this.now,
      fatal: (text) => void this.fatals.push(text),
      unblocked: () => {},
      stateChanged: () => {},
      removed: () => {},
    };
  }

  /** The log is given something to write. */
  appended(work: WalAppend): void {
    this.appends.push(work);
  }

  /** Everything that was handed over has been applied and flushed. */
  applyAll(): void {
    const index = Math.max(this.progress.appliedIndex, this.handed.at(-1)?.batch.lastIndex ?? 0);
    Object.assign(this.progress, { appliedIndex: index, flushedIndex: index });
  }
}

function readyOf(members: readonly Member[]): MemberState["ready"] {
  return {
    type: "ready",
    consistentIndex: members.length,
    term: 1,
    revision: 1,
    compactRevision: -1,
    confState: { ...emptyConfState, voters: members.map(({ id }) => id) },
    members,
    removedMembers: [],
    clusterVersion: "3.7.0",
    downgrade: { enabled: false, targetVersion: "" },
    alarms: [],
    leases: new Uint8Array(16),
  };
}
