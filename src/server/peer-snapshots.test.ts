/** From one member's store to another's: real databases, threads and files; only the network is missing. */
import assert from "node:assert/strict";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { silentLogger } from "../base/index.js";
import { formatConfState, formatMember } from "../membership/index.js";
import { Registry } from "../metrics/index.js";
import { encodeLease } from "../proto/index.js";
import { MessageType, type Message } from "../raft/index.js";
import {
  encodeUint64,
  LmdbBackend,
  lmdbBackendDefaults,
  metaKey,
  smallBuckets,
  type Backend,
} from "../storage/backend/index.js";
import {
  SnapshotClient,
  SnapshotFileError,
  snapshotPath,
  startRebuildThread,
  type OutgoingSnapshot,
} from "../storage/snap/index.js";
import { sendSnapshot } from "./peer-snapshots.js";
import { removeOldSnapshots, SnapshotReceiver } from "./snapshot-receiver.js";

const confState = { voters: [1n, 2n], learners: [], votersOutgoing: [], learnersNext: [], autoLeave: false };
const entries = 3000;

function open(directory: string): LmdbBackend {
  return LmdbBackend.open({
    ...lmdbBackendDefaults,
    directory,
    onFatal: (error) => assert.fail(error),
    startRebuild: startRebuildThread,
  });
}

function fill(backend: Backend, from: number, to: number, bytes: number): void {
  for (let index = from; index <= to; index++) {
    // A KeyValue with a key and a value.
    const at = backend.beginRecord(index + 1, 0, index % 9 === 0, bytes + 8);
    const value = Buffer.alloc(bytes, index);
    backend.recordBlock.set([0x0a, 1, 107, 0x2a, 0x80 | (bytes & 127), bytes >> 7], at);
    backend.recordBlock.set(value, at + 6);
    backend.endRecord(at + 6 + bytes);
    if (index % 100 === 0) backend.put("lease", encodeUint64(index), encodeLease({ ID: BigInt(index), TTL: 60 }));
    if (index === from) {
      const member = { id: 0x77n, name: "a", peerURLs: ["http://a:1"], clientURLs: [], isLearner: false };
      backend.put("members", Buffer.from("77"), formatMember(member));
      backend.put("members_removed", Buffer.from("88"), Buffer.from("removed"));
      backend.put("cluster", Buffer.from("clusterVersion"), Buffer.from("3.7.0"));
    }
    backend.endEntry(index, 3, index === from ? formatConfState(confState) : undefined);
  }
}

function contentsOf(backend: Backend): unknown {
  const records: string[] = [];
  const position = { main: 0, sub: 0 };
  const visitor = {
    visit: (main: number, sub: number, dead: boolean, bytes: Uint8Array, start: number, end: number): void => {
      records.push(`${main} ${sub} ${dead} ${Buffer.from(bytes.subarray(start, end)).toString("base64")}`);
    },
  };
  while (backend.scanRecords(position, { records: 1000, bytes: 1 << 20 }, visitor));
  return {
    records,
    small: smallBuckets.map((bucket) => backend.entries(bucket).map(({ key, value }) => [key, value])),
  };
}

/** Two members' disks, and what went between them. */
async function rig(t: TestContext) {
  const folder = mkdtempSync(join(tmpdir(), "etcd-ts-peer-snap-"));
  const source = open(join(folder, "source"));
  fill(source, 1, entries, 700);
  const target = open(join(folder, "target"));
  fill(target, 1, 10, 50);
  await target.flush();
  const client = new SnapshotClient({
    directory: join(folder, "source"),
    flush: () => source.flush(),
    logger: silentLogger,
    fatal: (message) => assert.fail(message),
  });
  t.after(async () => {
    await client.stop();
    await Promise.all([source.close(), target.close()]);
    rmSync(folder, { recursive: true, force: true });
  });
  const snapDir = join(folder, "snap");
  const stepped: Message[] = [];
  let wanted = true;
  const receiver = new SnapshotReceiver({
    directory: snapDir,
    step: (message) => {
      stepped.push(message);
      return wanted;
    },
    registry: new Registry(),
    logger: silentLogger,
  });
  const send = (deliver: (message: Message, file: OutgoingSnapshot) => Promise<void>): Promise<void> =>
    sendSnapshot(snapMessage(entries - 5), {
      openFile: () => client.openFile(),
      transport: { send: () => assert.fail(), sendSnapshot: deliver },
      logger: silentLogger,
    });
  return { source, target, snapDir, stepped, receiver, send, refuse: () => (wanted = false) };
}

function snapMessage(index: number): Message {
  const snapshot = { index, term: 3, confState, data: new Uint8Array(0) };
  return { ...emptyMessage, snapshot };
}

const emptyMessage: Message = {
  type: MessageType.Snap,
  to: 2n,
  from: 1n,
  term: 3,
  logTerm: 0,
  index: 0,
  entries: [],
  commit: 0,
  vote: 0n,
  snapshot: null,
  reject: false,
  rejectHint: 0,
  context: new Uint8Array(0),
  responses: [],
};

test("the other store becomes what this one was, and goes on from there", async (t) => {
  const { source, target, snapDir, stepped, receiver, send } = await rig(t);
  await send((message, file) => receiver.receive(message, file.pieces()));
  assert.equal(stepped.length, 1);
  const { index, term, confState: sent } = stepped[0]!.snapshot!;
  assert.deepEqual([index, term, sent], [entries, 3, confState], "the file is newer than Raft's message");
  const { Root } = JSON.parse(Buffer.from(stepped[0]!.snapshot!.data).toString()) as {
    Root: {
      Children: Record<string, { Children: Record<string, { Children: Record<string, unknown>; Value: string }> }>;
    };
  };
  const { members, removed_members: gone, version } = Root.Children["0"]!.Children;
  const told = [Object.keys(members!.Children), Object.keys(gone!.Children), version!.Value];
  assert.deepEqual(told, [["77"], ["88"], "3.7.0"], "etcd's older members read the membership there");
  const expected = contentsOf(source);
  const fresh = await target.beginInstall(snapshotPath(snapDir, index));
  assert.equal(target.consistentIndex, 10);
  let adopted = 0;
  await target.finishInstall(fresh, () => (adopted = target.consistentIndex));
  assert.deepEqual([adopted, target.consistentIndex, target.flushedIndex, target.term], [entries, entries, entries, 3]);
  assert.deepEqual(contentsOf(target), expected);
  fill(target, entries + 1, entries + 20, 30);
  await target.flush();
  assert.equal(target.get("meta", metaKey.consistentIndex)?.at(-1), (entries + 20) & 255);
  await removeOldSnapshots(snapDir, entries);
  assert.deepEqual(readdirSync(snapDir), []);
});

test("what is cut short, damaged or of another entry is refused, and nothing is left of it", async (t) => {
  const { stepped, receiver, send, snapDir } = await rig(t);
  const spoilt: Record<string, (bytes: Buffer) => Buffer> = {
    "cut short": (bytes) => bytes.subarray(0, bytes.length - 4096),
    "a page overwritten": (bytes) => Buffer.from(bytes.fill(0xee, 40_960, 45_056)),
    empty: () => Buffer.alloc(0),
  };
  for (const [name, spoil] of Object.entries(spoilt)) {
    const outcome = send(async (message, file) => {
      const whole: Uint8Array[] = [];
      for await (const piece of file.pieces()) whole.push(piece);
      const bytes = spoil(Buffer.concat(whole));
      await receiver.receive(
        message,
        (async function* () {
          yield bytes;
        })(),
      );
    });
    await assert.rejects(outcome, SnapshotFileError, name);
  }
  const other = send((message, file) => {
    const snapshot = { ...message.snapshot!, term: 4 };
    return receiver.receive({ ...message, snapshot }, file.pieces());
  });
  await assert.rejects(other, /entry 3000 of term 3, not at entry 3000 of term 4/);
  assert.equal(stepped.length, 0);
  assert.deepEqual(readdirSync(snapDir), []);
});

test("a connection that breaks leaves nothing, and the thread goes on with others", async (t) => {
  const { stepped, receiver, send, snapDir } = await rig(t);
  const broken = send((message, file) =>
    receiver.receive(
      message,
      (async function* () {
        for await (const piece of file.pieces()) {
          yield piece;
          throw new Error("connection reset");
        }
      })(),
    ),
  );
  await assert.rejects(broken, /connection reset/);
  assert.deepEqual(readdirSync(snapDir), []);
  await send((message, file) => receiver.receive(message, file.pieces()));
  assert.equal(stepped.length, 1);
});

test("a file that Raft does not want is removed, and so are old ones", async (t) => {
  const { receiver, send, snapDir, refuse } = await rig(t);
  refuse();
  await send((message, file) => receiver.receive(message, file.pieces()));
  assert.deepEqual(readdirSync(snapDir), []);
  for (const index of [5, 6, 7]) writeFileSync(snapshotPath(snapDir, index), "x");
  writeFileSync(`${snapshotPath(snapDir, 9)}.tmp-1`, "x");
  await removeOldSnapshots(snapDir, 6);
  assert.deepEqual(readdirSync(snapDir), ["0000000000000007.snap.db"]);
  await removeOldSnapshots(join(snapDir, "absent"), 6);
});

test("a damaged file found at the installation changes nothing", async (t) => {
  const { target, snapDir, stepped, receiver, send } = await rig(t);
  await send((message, file) => receiver.receive(message, file.pieces()));
  const path = snapshotPath(snapDir, stepped[0]!.snapshot!.index);
  const bytes = readFileSync(path);
  bytes.fill(0xee, 40_960, 81_920);
  writeFileSync(path, bytes);
  const before = contentsOf(target);
  await assert.rejects(target.beginInstall(path), /bolt/);
  assert.deepEqual(contentsOf(target), before);
  await assert.rejects(target.beginInstall(snapshotPath(snapDir, 1)), /ENOENT/);
  assert.equal(existsSync(`${snapDir}/../target.rebuild`), false);
});
