import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, test } from "node:test";
import { EntryBatch, SeededPrng } from "../../base/index.js";
import { crc32c } from "../../native/index.js";
import {
  Wal,
  walBuckets,
  WalAbsentError,
  WalCorruptError,
  WalExistsError,
  WalInvalidError,
  WalLockedError,
  type ConfState,
  type HardState,
  type SnapshotMark,
  type WalOptions,
} from "./index.js";

const metadata = Buffer.from("cluster 1, member 2");
const confState: ConfState = {
  voters: [1n, 2n ** 63n],
  learners: [7n],
  votersOutgoing: [],
  learnersNext: [],
  autoLeave: false,
};

let dir = "";

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "etcd-ts-wal-"));
});
afterEach(() => {
  rmSync(dir, { recursive: true, force: true });
});

/** A log whose durable tokens can be awaited. */
class Session {
  wal!: Wal;
  durable = -1;
  calls = 0;
  readonly fatal: Error[] = [];
  readonly buffered: string[] = [];
  #waiting: { token: number; resolve: () => void }[] = [];

  options(more: Partial<WalOptions> = {}): WalOptions {
    return {
      dir,
      segmentBytes: 64 << 10,
      onDurable: (token) => this.#reached(token),
      onFatal: (error) => this.#failed(error),
      onBuffered: (reason) => this.buffered.push(reason),
      ...more,
    };
  }

  static async create(more: Partial<WalOptions> = {}): Promise<Session> {
    const session = new Session();
    session.wal = await Wal.create(session.options(more), metadata);
    return session;
  }

  static async open(more: Partial<WalOptions> = {}): Promise<Session> {
    const session = new Session();
    session.wal = await Wal.open(session.options(more));
    return session;
  }

  until(token: number): Promise<void> {
    if (this.durable >= token) return Promise.resolve();
    return new Promise((resolve) => this.#waiting.push({ token, resolve }));
  }

  #reached(token: number): void {
    assert.ok(token > this.durable, "durable token went back, or was told twice");
    this.durable = token;
    this.calls++;
    this.#release(token);
  }

  #failed(error: Error): void {
    this.fatal.push(error);
    this.#release(Infinity);
  }

  #release(token: number): void {
    for (const waiting of this.#waiting.filter((each) => each.token <= token)) waiting.resolve();
    this.#waiting = this.#waiting.filter((each) => each.token > token);
  }
}

/** What a replay told. */
class Log {
  readonly entries = new Map<number, { term: number; type: number; data: string }>();
  hardState: HardState | null = null;
  mark: SnapshotMark | null = null;

  entriesRecord(batch: EntryBatch): void {
    for (let index = batch.firstIndex; index <= batch.lastIndex; index++) {
      assert.ok(!this.entries.has(index), `entry ${index} was told twice`);
      const data = Buffer.from(batch.dataOf(index)).toString("base64");
      this.entries.set(index, { term: batch.term, type: batch.typeOf(index), data });
    }
  }
  hardStateRecord(state: HardState): void {
    this.hardState = state;
  }
  snapshotMark(mark: SnapshotMark): void {
    this.mark = mark;
  }

  static async of(wal: Wal): Promise<Log> {
    const log = new Log();
    await wal.replay(log);
    return log;
  }
}

function batchOf(term: number, firstIndex: number, data: readonly Uint8Array[]): EntryBatch {
  let end = 0;
  return new EntryBatch({
    term,
    firstIndex,
    types: Uint8Array.from(data, (_, i) => i % 3),
    ends: Uint32Array.from(data, (each) => (end += each.length)),
    bytes: Buffer.concat(data),
  });
}

function oneEntry(index: number, text: string): EntryBatch {
  return EntryBatch.single({ term: 1, index, type: 0, data: Buffer.from(text) });
}

/** Appends entry after entry, and awaits each. */
async function appendEach(session: Session, from: number, to: number, text = "x".repeat(5000)): Promise<void> {
  for (let index = from; index <= to; index++) {
    session.wal.append({
      batches: [oneEntry(index, text)],
      hardState: { term: 1, vote: 5n, commit: index },
      token: index,
    });
    await session.until(index);
  }
}

const segments = (): string[] => readdirSync(dir).filter((name) => name.endsWith(".seg"));

describe("wal", () => {
  test("what is appended is replayed, with marks, over several runs", async () => {
    const prng = new SeededPrng(8);
    const bytes = (length: number): Uint8Array => Uint8Array.from({ length }, () => prng.below(256));
    const batches = [
      batchOf(3, 1, [bytes(10), bytes(0), bytes(70_000)]),
      batchOf(
        3,
        4,
        Array.from({ length: 100 }, () => bytes(prng.below(40))),
      ),
      batchOf(4, 104, [new Uint8Array(9000)]),
    ];
    const first = await Session.create();
    first.wal.append({ batches, hardState: { term: 4, vote: 2n ** 64n - 1n, commit: 103 }, token: 0 });
    await first.until(0);
    await first.wal.close();

    const second = await Session.open();
    assert.deepEqual(Buffer.from(second.wal.metadata), metadata);
    assert.equal(second.wal.cut, null);
    const log = await Log.of(second.wal);
    const expected = new Log();
    batches.forEach((batch) => expected.entriesRecord(batch));
    assert.deepEqual(log.entries, expected.entries);
    assert.deepEqual(log.hardState, { term: 4, vote: 2n ** 64n - 1n, commit: 103 });
    assert.equal(log.mark, null);
    second.wal.append({ batches: [oneEntry(105, "behind")], hardState: null, token: 0 });
    second.wal.appendSnapshotMark({ index: 104, term: 4, confState }, 1);
    await second.until(1);
    await second.wal.close();

    const third = await Session.open();
    const end = await Log.of(third.wal);
    assert.deepEqual(end.mark, { index: 104, term: 4, confState });
    assert.deepEqual([...end.entries.keys()], [105]);
    assert.equal(end.hardState?.commit, 104);
    await third.wal.close();
  });

  test("what is written at once is durable then, is told of by nothing else, and is replayed", async () => {
    const session = await Session.create();
    let atOnce = 0;
    for (let index = 1; index <= 300; index++) {
      const work = { batches: [oneEntry(index, `entry ${index}`)], hardState: null, token: index };
      if (session.wal.appendHere(work)) atOnce++;
      else await session.until(index);
    }
    await session.wal.close();
    assert.ok(session.calls <= 300 - atOnce, `${session.calls} calls, ${atOnce} at once`);
    const reopened = await Session.open();
    assert.equal((await Log.of(reopened.wal)).entries.size, 300);
    await reopened.wal.close();
  });

  test("a later batch replaces the tail (§5.3)", async () => {
    const session = await Session.create();
    session.wal.append({
      batches: [
        batchOf(
          1,
          1,
          ["a", "b", "c", "d"].map((t) => Buffer.from(t)),
        ),
      ],
      hardState: null,
      token: 1,
    });
    session.wal.append({ batches: [batchOf(2, 3, [Buffer.from("C")])], hardState: null, token: 2 });
    await session.wal.close();
    const log = await Log.of((await reopened()).wal);
    assert.deepEqual(
      [...log.entries].map(([index, { term, data }]) => [index, term, Buffer.from(data, "base64").toString()]),
      [
        [1, 1, "a"],
        [2, 1, "b"],
        [3, 2, "C"],
      ],
    );
  });

  test("an installed snapshot voids what lies before it", async () => {
    const session = await Session.create();
    session.wal.append({ batches: [batchOf(1, 1, [Buffer.from("a"), Buffer.from("b")])], hardState: null, token: 1 });
    session.wal.appendInstall({ index: 50, term: 9, confState }, { term: 9, vote: 0n, commit: 50 }, 2);
    session.wal.append({ batches: [oneEntry(51, "new")], hardState: null, token: 3 });
    await session.wal.close();
    const log = await Log.of((await reopened()).wal);
    assert.deepEqual([...log.entries.keys()], [51]);
    assert.equal(log.mark?.index, 50);
  });

  test("many appends in one turn are told durable by few calls", async () => {
    const session = await Session.create();
    for (let index = 1; index <= 2000; index++) {
      session.wal.append({ batches: [oneEntry(index, "value")], hardState: null, token: index });
    }
    await session.until(2000);
    assert.ok(session.calls < 200, `${session.calls} calls`);
    const stats = session.wal.stats();
    const fsyncs = stats.fsyncCounts.reduce((sum, count) => sum + count, 0);
    assert.ok(fsyncs >= 1 && fsyncs < 200, `${fsyncs} syncs`);
    assert.ok(stats.fsyncSeconds > 0 && stats.writeSeconds > 0);
    assert.ok(stats.writtenBytes > 2000 * 56 && stats.writtenBytes % 4096 === 0);
    assert.equal(stats.fsyncCounts.length, walBuckets.length + 1);
    await session.wal.close();
  });

  test("close writes what was queued", async () => {
    const session = await Session.create();
    for (let index = 1; index <= 300; index++) {
      session.wal.append({ batches: [oneEntry(index, "value")], hardState: null, token: index });
    }
    await session.wal.close();
    assert.equal(session.durable, 300);
  });

  test("released segments go, and the log still replays", async () => {
    const session = await Session.create();
    await appendEach(session, 1, 60);
    const before = segments().length;
    session.wal.appendSnapshotMark({ index: 55, term: 1, confState }, 61);
    await session.until(61);
    session.wal.release(55);
    await session.wal.close();
    assert.ok(segments().length < before - 3, `${before} segments before, ${segments().length} after`);
    const log = await Log.of((await reopened()).wal);
    assert.deepEqual([...log.entries.keys()], [56, 57, 58, 59, 60]);
  });

  test("damage is refused with segment and offset, and nothing is deleted", async () => {
    const session = await Session.create();
    await appendEach(session, 1, 12);
    await session.wal.close();
    const name = segments().sort()[0]!;
    const bytes = readFileSync(join(dir, name));
    bytes[8192 + 4096 + 700]! ^= 4;
    writeFileSync(join(dir, name), bytes);
    const before = segments();
    await assert.rejects(Wal.open(session.options()), (error) => {
      assert.ok(error instanceof WalCorruptError);
      assert.equal(error.segment, name);
      assert.ok(error.offset >= 12_288 && error.offset < 20_480, `${error.offset}`);
      assert.ok(error.reason.length > 0 && error.message.includes(name));
      return true;
    });
    assert.deepEqual(segments(), before);
  });

  test("a torn last batch is cut and told", async () => {
    const session = await Session.create();
    await appendEach(session, 1, 3);
    await session.wal.close();
    const name = segments().sort()[0]!;
    const bytes = readFileSync(join(dir, name));
    const last = 4096 + 2 * 8192;
    bytes.fill(0, last + 512, last + 1024);
    writeFileSync(join(dir, name), bytes);
    const next = await reopened();
    assert.deepEqual(next.wal.cut, { segment: name, offset: last, bytes: 8192 });
    const log = await Log.of(next.wal);
    assert.deepEqual([...log.entries.keys()], [1, 2]);
    next.wal.append({ batches: [oneEntry(3, "again")], hardState: null, token: 1 });
    await next.until(1);
    await next.wal.close();
    assert.equal((await Log.of((await reopened()).wal)).entries.size, 3);
  });

  test("a folder without a log, a second log, a log in use", async () => {
    const session = new Session();
    assert.equal(Wal.exists(dir), false);
    assert.equal(Wal.exists(join(dir, "none")), false);
    await assert.rejects(Wal.open(session.options()), WalAbsentError);
    await assert.rejects(Wal.open(session.options({ dir: join(dir, "none") })), WalAbsentError);
    const first = await Session.create();
    assert.equal(Wal.exists(dir), true);
    await assert.rejects(Wal.open(session.options()), WalLockedError);
    await first.wal.close();
    await assert.rejects(Wal.create(session.options(), metadata), WalExistsError);
    writeFileSync(join(dir, "lock"), "");
    Wal.removeAll(dir);
    assert.deepEqual(readdirSync(dir), ["lock"]);
    await (await Session.create()).wal.close();
  });

  test("what no member may write stops the log, once, and nothing after it is acknowledged", async () => {
    const session = await Session.create();
    await appendEach(session, 1, 1);
    session.wal.append({ batches: [oneEntry(7, "gap")], hardState: null, token: 2 });
    session.wal.append({ batches: [oneEntry(2, "after")], hardState: null, token: 3 });
    await session.until(3);
    assert.equal(session.fatal.length, 1);
    assert.ok(session.fatal[0] instanceof WalInvalidError);
    session.wal.append({ batches: [oneEntry(2, "after")], hardState: null, token: 4 });
    await session.wal.close();
    assert.equal(session.durable, 1);
    assert.equal(session.fatal.length, 1);
  });

  test("buffered writing keeps the log, too", async () => {
    const session = await Session.create({ direct: false });
    await appendEach(session, 1, 10);
    await session.wal.close();
    assert.deepEqual(session.buffered, []);
    assert.equal((await Log.of((await reopened()).wal)).entries.size, 10);
  });

  test("without fsync, appends are acknowledged and nothing is counted as synced", async () => {
    const session = await Session.create({ unsafeNoFsync: true });
    await appendEach(session, 1, 3);
    assert.equal(
      session.wal.stats().fsyncCounts.reduce((sum, count) => sum + count, 0),
      0,
    );
    await session.wal.close();
  });

  test("an entry larger than a segment, and thousands of ends", async () => {
    const session = await Session.create();
    const large = new Uint8Array(5 << 20).map((_, i) => i * 7);
    const many = batchOf(
      1,
      2,
      Array.from({ length: 5000 }, (_, i) => Buffer.from(String(i))),
    );
    session.wal.append({
      batches: [EntryBatch.single({ term: 1, index: 1, type: 0, data: large }), many],
      hardState: null,
      token: 1,
    });
    await session.until(1);
    await session.wal.close();
    const log = await Log.of((await reopened()).wal);
    assert.ok(Buffer.from(log.entries.get(1)!.data, "base64").equals(large));
    assert.equal(Buffer.from(log.entries.get(4001)!.data, "base64").toString(), "3999");
    assert.equal(log.entries.size, 5001);
  });
});

let toClose: Session[] = [];
afterEach(async () => {
  for (const session of toClose) await session.wal.close();
  toClose = [];
});

/** Opens the log again; it is closed after the test. */
async function reopened(): Promise<Session> {
  const session = await Session.open();
  toClose.push(session);
  return session;
}

test("crc32c has the known check value and goes on from a part", () => {
  const bytes = Buffer.from("123456789");
  assert.equal(crc32c(0, bytes), 0xe3069283);
  assert.equal(crc32c(crc32c(0, bytes.subarray(0, 4)), bytes.subarray(4)), 0xe3069283);
});
