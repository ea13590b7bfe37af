/**
 * The log stays within its bounds however long a leader runs, in memory and in real files: with followers that keep
 * up, with one that lags, and with one that is gone for good.
 */
import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { EntryBatch, EntryType } from "../base/index.js";
import { message, MessageType, Role } from "../raft/index.js";
import { Wal } from "../storage/wal/index.js";
import { MemberRig } from "./member-rig.test-support.js";
import type { RaftLoop } from "./raft-loop.js";
import { makeRaftLoop } from "./raft-node.js";
import { RequestIdGenerator } from "./request-id.js";
import { Waiters } from "./waiters.js";

const snapshotCount = 200;
const catchupEntries = 50;
const entryBytes = 1000;
const batchEntries = 20;
const rounds = 500;
const segmentBytes = 64 << 10;

/** A leader of three on a real log; the others answer as the test says. */
class Leader extends MemberRig {
  readonly #folder: string;
  readonly loop: RaftLoop;
  #wake: () => void = () => {};
  #failure: Error | null = null;

  static async start(t: TestContext): Promise<Leader> {
    const folder = mkdtempSync(join(tmpdir(), "etcd-ts-log-bounds-"));
    let leader: Leader | null = null;
    const dir = join(folder, "wal");
    const onDurable = (token: number): void => leader?.durable(token);
    const onFatal = (error: Error): void => leader?.logFailed(error);
    const wal = await Wal.create({ dir, segmentBytes, unsafeNoFsync: true, onDurable, onFatal }, new Uint8Array(8));
    t.after(async () => {
      await wal.close();
      rmSync(folder, { recursive: true, force: true });
    });
    leader = new Leader(dir, wal);
    const { batches, hardState } = leader.state.log;
    wal.append({ batches, hardState, token: 0 });
    await leader.#lead();
    return leader;
  }

  private constructor(folder: string, wal: Wal) {
    super(3, { wal, flags: [`--snapshot-count=${snapshotCount}`, `--snapshot-catchup-entries=${catchupEntries}`] });
    this.#folder = folder;
    const hooks = { softState: () => {}, readState: () => {} };
    const parts = { waiters: new Waiters(), ids: new RequestIdGenerator(1n, 1), hooks };
    this.loop = makeRaftLoop(this.surroundings, this.state, parts);
  }

  async #lead(): Promise<void> {
    this.loop.node.campaign();
    for (const term of [1, 2]) {
      this.loop.pump();
      await this.stored();
      const type = term === 1 ? MessageType.PreVoteResp : MessageType.VoteResp;
      for (const from of [2n, 3n]) this.loop.node.step(message({ type, to: 1n, from, term: 2 }));
      this.loop.pump();
    }
    await this.stored();
    assert.equal(this.loop.node.role, Role.Leader);
  }

  logFailed(error: Error): void {
    this.#failure = error;
    this.#wake();
  }

  durable(token: number): void {
    this.loop.durable(token);
    this.#wake();
  }

  /** The log has all that it was given. */
  async stored(): Promise<void> {
    while (!this.loop.allDurable) {
      await new Promise<void>((resolve) => (this.#wake = resolve));
      if (this.#failure !== null) throw this.#failure;
    }
  }

  /** Lets `from` acknowledge what it was sent. */
  acknowledge(from: bigint): void {
    const { node } = this.loop;
    for (let n = 0; ; n++) {
      assert.ok(n < 1000, "appends without end");
      const appends = this.sent.filter(({ type, to }) => type === MessageType.App && to === from);
      this.sent.splice(0, Infinity, ...this.sent.filter((m) => !appends.includes(m)));
      if (appends.length === 0) return;
      for (const m of appends) {
        const index = m.entries.at(-1)?.lastIndex ?? m.index;
        node.step(message({ type: MessageType.AppResp, to: 1n, from, term: node.term, index }));
      }
      this.loop.pump();
    }
  }

  propose(): void {
    const ends = Uint32Array.from({ length: batchEntries }, (_, i) => (i + 1) * entryBytes);
    const bytes = new Uint8Array(batchEntries * entryBytes);
    const types = new Uint8Array(batchEntries).fill(EntryType.Normal);
    assert.equal(this.loop.node.propose(new EntryBatch({ term: 0, firstIndex: 0, types, ends, bytes })), "ok");
    this.loop.pump();
  }

  /** Apply has done and flushed all it has got. */
  applied(): void {
    this.applyAll();
    this.loop.applied();
  }

  get entriesInMemory(): number {
    return this.loop.node.lastIndex - this.loop.node.firstIndex + 1;
  }

  get bytesOnDisk(): number {
    // Another thread removes and renames segments meanwhile.
    const sizeOf = (name: string): number => statSync(join(this.#folder, name), { throwIfNoEntry: false })?.size ?? 0;
    return readdirSync(this.#folder).reduce((sum, name) => sum + sizeOf(name), 0);
  }

  /** Waits until the log's other thread has removed what it may. */
  async shrinksTo(bytes: number): Promise<void> {
    const deadline = performance.now() + 30_000;
    while (this.bytesOnDisk > bytes) {
      assert.ok(performance.now() < deadline, `${this.bytesOnDisk} bytes on disk, more than ${bytes}`);
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
  }
}

/**
 * Up to a cut, and what is kept behind it; what one round adds. A cut while a snapshot is under way keeps what its
 * receiver needs next: the cut after it makes up for that.
 */
const entriesMax = 2 * snapshotCount + catchupEntries + 2 * batchEntries;
/** Segments that hold as many entries, the one in use, spare ones, and one that a mark comes too late for. */
const bytesMax = entriesMax * (entryBytes + 100) + 5 * segmentBytes;

const followers: readonly [string, (leader: Leader, round: number) => void][] = [
  ["keep up", (leader) => [2n, 3n].forEach((id) => leader.acknowledge(id))],
  [
    "lag",
    (leader, round) => {
      leader.acknowledge(2n);
      if (round % 40 === 39) leader.acknowledge(3n);
    },
  ],
  ["are there, but for one that is gone", (leader) => leader.acknowledge(2n)],
];
for (const [how, answer] of followers) {
  test(`the log stays within its bounds while the followers ${how}`, async (t) => {
    const leader = await Leader.start(t);
    let entries = 0;
    for (let round = 0; round < rounds; round++) {
      leader.propose();
      await leader.stored();
      answer(leader, round);
      leader.applied();
      entries = Math.max(entries, leader.entriesInMemory);
      await leader.shrinksTo(bytesMax);
    }
    const { node } = leader.loop;
    assert.ok(node.commitIndex > rounds * batchEntries);
    assert.equal(node.appliedIndex, node.commitIndex);
    assert.ok(entries <= entriesMax, `${entries} entries in memory, more than ${entriesMax}`);
    assert.ok(entries > snapshotCount, "it is not cut at each turn");
    assert.ok(bytesMax * 10 < rounds * batchEntries * entryBytes, "ten times as much was written");
  });
}
