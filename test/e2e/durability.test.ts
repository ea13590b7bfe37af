/**
 * What reaches the disk, and when, as the kernel sees it: directories on a first start, a put whose caller has gone
 * while the disk is slow, and a disk that fails. All of it needs strace and is skipped where it is missing.
 */
import assert from "node:assert/strict";
import { mkdirSync, realpathSync } from "node:fs";
import { dirname, isAbsolute, join, resolve } from "node:path";
import { test } from "node:test";
import {
  base64,
  callAt,
  encodeMessage,
  frame,
  FrameFlag,
  FrameKind,
  GrpcClient,
  hasStrace,
  type JsonObject,
  Member,
  type MemberOptions,
  optionsAlike,
  ourCommand,
  rawFrame,
  RawHttp2,
  requestBlock,
  type SystemCall,
  temporaryFolder,
  TracedMember,
  uint32,
} from "../support/index.js";

const skip = hasStrace ? false : "strace is not installed";
const putPath = "/etcdserverpb.KV/Put";

/** Runs in a folder of its own, which is gone afterwards. */
const inFolder = (run: (folder: string) => Promise<void>) => async (): Promise<void> => {
  const { path, remove } = await temporaryFolder();
  try {
    await run(realpathSync(path));
  } finally {
    await remove();
  }
};

/** The path of the descriptor that a call is given. */
const ofDescriptor = (call: SystemCall): string => /^\d+<([^>]*)>/.exec(call.args)?.[1] ?? "";

const createsFile = ({ name, args }: SystemCall): boolean => name.startsWith("open") && args.includes("O_CREAT");

/** Locks hold nothing; the spare segment is made beside all else, and nothing stands in it before it has been synced. */
const mayBeLost = (path: string): boolean => /\/(lock(\.mdb)?|0{15}2-[^/]*)$/.test(path);

/** Follows which directory entries, and which files' bytes, a crash would leave. */
class Entries {
  readonly #root: string;
  readonly #cwd: string;
  /** Made or removed, and not yet confirmed by an fsync of the directory. */
  readonly #pending = new Set<string>();
  readonly #made = new Set<string>();
  readonly #syncedFiles = new Set<string>();
  /** fsyncs of a directory that are under way, with the entries that they confirm. */
  readonly #confirming = new Map<SystemCall, readonly string[]>();

  constructor(root: string, cwd: string) {
    this.#root = root;
    this.#cwd = cwd;
  }

  get pending(): readonly string[] {
    return [...this.#pending];
  }

  wasMade(path: string): boolean {
    return this.#made.has(path);
  }

  begin(call: SystemCall): void {
    if (call.name === "fsync") {
      const directory = ofDescriptor(call);
      const confirmed = this.pending.filter((path) => dirname(path) === directory);
      this.#confirming.set(call, confirmed);
      for (const path of confirmed.filter((each) => /\/(bootstrap|pair)$/.test(each) && this.#made.has(each)))
        assert.ok(this.#syncedFiles.has(path), `${path} has no bytes yet`);
    } else if (createsFile(call)) {
      for (let folder = dirname(this.#paths(call)[0]!); folder.length > this.#root.length; folder = dirname(folder))
        assert.ok(!this.#pending.has(folder), `a file is made in ${folder}, which a crash may take`);
    } else if (call.name.startsWith("rename")) {
      const [from = "", to = ""] = this.#paths(call);
      if (to.endsWith(".seg")) assert.ok(this.#syncedFiles.has(from), `${to} has no bytes yet`);
    }
  }

  end(call: SystemCall): void {
    if (call.result === null || call.result < 0) return;
    if (call.name.endsWith("sync")) {
      this.#syncedFiles.add(ofDescriptor(call));
      for (const path of this.#confirming.get(call) ?? []) this.#pending.delete(path);
      return;
    }
    const paths = this.#paths(call).filter((path) => path.startsWith(this.#root) && !mayBeLost(path));
    if (createsFile(call) && this.#made.has(paths[0] ?? "")) return;
    for (const path of paths) this.#pending.add(path);
    const left = /^(unlink|rmdir)/.test(call.name) ? undefined : paths.at(-1);
    for (const path of paths) this.#made.delete(path);
    if (left !== undefined) this.#made.add(left);
  }

  /** The one or two paths that a call makes, moves or removes. */
  #paths(call: SystemCall): string[] {
    if (/sync$|^write|^execve/.test(call.name) || (call.name.startsWith("open") && !createsFile(call))) return [];
    const names = [...call.args.matchAll(/"([^"]*)"/g)].map((found) => found[1]!);
    return names.map((name) => (isAbsolute(name) ? name : resolve(this.#cwd, name)));
  }
}

/** Replays the trace up to the ready line, and checks every step of it. */
function checkDirectories(calls: readonly SystemCall[], root: string): Entries {
  const entries = new Entries(root, root);
  const steps = calls
    .flatMap((call) => [
      { at: call.begin, call, ends: false },
      { at: call.end, call, ends: true },
    ])
    .sort((a, b) => a.at - b.at);
  for (const { call, ends } of steps) {
    if (call.name === "write" && call.args.includes("ready to serve client requests")) return entries;
    if (ends) entries.end(call);
    else {
      const isMark = /"[^"]*\/bootstrap"/.test(call.args);
      const isLog = createsFile(call) && /\/0{15}1-[^"]*\.seg/.test(call.args);
      // From the mark's end on both halves must be there; from the log's beginning on the mark must.
      if ((isMark && call.name.startsWith("unlink")) || isLog)
        assert.deepEqual(entries.pending, [], `not in the directory yet before ${call.name}(${call.args}`);
      entries.begin(call);
    }
  }
  assert.fail("the ready line is not in the trace");
}

const directoryCalls =
  "mkdir mkdirat open openat rename renameat renameat2 unlink unlinkat rmdir fsync fdatasync write".split(" ");

const firstStarts: readonly { name: string; dataDir: string; walDir: string }[] = [
  { name: "a relative data folder", dataDir: join("new", "data"), walDir: "" },
  { name: "a --wal-dir elsewhere", dataDir: join("new", "deep", "data"), walDir: join("log", "deep", "wal") },
];

for (const { name, dataDir, walDir } of firstStarts) {
  const checksDirectories = inFolder(async (root) => {
    // The trace is beside the folder that is watched.
    const cwd = join(root, "cwd");
    mkdirSync(cwd);
    const log = walDir === "" ? join(cwd, dataDir, "member", "wal") : join(cwd, walDir);
    const given = walDir === "" ? dataDir : join(cwd, dataDir);
    const flags = walDir === "" ? [] : [`--wal-dir=${log}`];
    const traced = new TracedMember(
      { ...(await optionsAlike(ourCommand(), given, flags)), cwd },
      join(root, "trace"),
      directoryCalls,
    );
    try {
      await traced.member.ready();
      await traced.until(() => traced.calls().some(({ args }) => args.includes("ready to serve client requests")));
      const entries = checkDirectories(traced.calls(), cwd);
      assert.deepEqual(entries.pending, [], "not in their directories yet when clients are served");
      const member = join(cwd, dataDir, "member");
      for (const path of [dirname(dirname(member)), dirname(member), member, log, join(member, "db", "pair")])
        assert.ok(entries.wasMade(path), `the trace shows ${path}`);
    } finally {
      await traced.kill();
    }
  });
  test(`a first start has every new directory entry on disk before it serves: ${name}`, { skip }, checksDirectories);
}

/** Microseconds that each fdatasync takes longer, from each thread's 13th on: those of a first start are fewer. */
const slowSync = "fdatasync:delay_enter=1500000:when=13+";
/** Well above what it takes until the log is written, well below the fdatasync after it. */
const shortTimeout = "500m";
const deadlineExceeded = 4;
/** More than there are quick ones. */
const putsMax = 60;

/** Whether the log was given `key`. */
const isInLog = (calls: readonly SystemCall[], key: string): boolean =>
  calls.some((call) => call.name === "pwrite64" && ofDescriptor(call).endsWith(".seg") && call.args.includes(key));

const putMessage = (key: string): Uint8Array =>
  encodeMessage("etcdserverpb.PutRequest", { key: base64(key), value: base64("value") });

/** Puts with a short deadline until one was in the log when its deadline came; the keys that must be there. */
async function putsPastDeadline(traced: TracedMember): Promise<string[]> {
  const client = new GrpcClient(traced.member.port);
  const keys: string[] = [];
  try {
    for (let n = 0; n < putsMax; n++) {
      const key = `deadline-${n}.`;
      const reply = await client.unary(putPath, putMessage(key), { "grpc-timeout": shortTimeout });
      assert.ok(reply.status === 0 || reply.status === deadlineExceeded, reply.message);
      const wasProposed = isInLog(traced.calls(), key);
      // What comes too late even for the log may end either way.
      if (wasProposed || reply.status === 0) keys.push(key);
      if (wasProposed && reply.status === deadlineExceeded) return keys;
    }
  } finally {
    client.close();
  }
  return assert.fail(`${putsMax} puts, and none of them outlasted its deadline`);
}

/** Puts that are reset once they are in the log, until one was reset before its answer. */
async function putsCancelled(traced: TracedMember): Promise<string[]> {
  const connection = new RawHttp2(traced.member.port);
  const keys: string[] = [];
  const has = (kind: number, stream: number): boolean =>
    connection.frames.some((got) => got.kind === kind && got.stream === stream);
  try {
    for (let n = 0; n < putsMax; n++) {
      const [key, stream] = [`cancelled-${n}.`, 2 * n + 1];
      const head = rawFrame(FrameKind.Headers, FrameFlag.EndHeaders, stream, requestBlock(putPath));
      connection.send(head, rawFrame(FrameKind.Data, FrameFlag.EndStream, stream, frame(putMessage(key))));
      keys.push(key);
      await traced.until(() => isInLog(traced.calls(), key));
      const pings = connection.frames.filter(({ kind }) => kind === FrameKind.Ping).length;
      connection.send(rawFrame(FrameKind.RstStream, 0, stream, uint32(8)));
      connection.send(rawFrame(FrameKind.Ping, 0, 0, Buffer.alloc(8, n)));
      await connection.until(() => connection.frames.filter(({ kind }) => kind === FrameKind.Ping).length > pings);
      assert.ok(!connection.closed);
      if (!has(FrameKind.Headers, stream)) return keys;
    }
  } finally {
    connection.destroy();
  }
  return assert.fail(`${putsMax} puts, and none of them could be reset in time`);
}

const slowDisk = inFolder(async (folder) => {
  const options = await optionsAlike(ourCommand(), join(folder, "data"));
  const inject = ["-e", `inject=${slowSync}`];
  const traced = new TracedMember(options, join(folder, "trace"), ["pwrite64", "fdatasync"], inject);
  try {
    await traced.member.ready();
    const keys = [...(await putsPastDeadline(traced)), ...(await putsCancelled(traced)), "last."];
    // What is answered after them was applied after them.
    const { header } = await callAt(options.clientPort, "KV/Put", { key: base64("last."), value: base64("value") });
    const range = { key: base64("\0"), range_end: base64("\0") };
    const { kvs } = await callAt(options.clientPort, "KV/Range", range);
    const versions = new Map((kvs as JsonObject[]).map(({ key, version }) => [key, Number(version)]));
    for (const key of keys) assert.equal(versions.get(base64(key)), 1, `version of ${key}`);
    assert.equal(Number((header as JsonObject)["revision"]), 1 + versions.size, "no key was put twice");
  } finally {
    await traced.kill();
  }
});
test("a deadline or a cancel after proposing withdraws nothing", { skip }, slowDisk);

/** Fails for good, as a disk does, from a thread's 20th on: those of a first start are fewer. */
const failingSync = "fdatasync:error=EIO:when=20+";
const lanes = 4;
const putsPerLaneMax = 200;

/** Keys that were acknowledged until the first call failed. */
async function putUntilItFails(port: number, lane: number): Promise<string[]> {
  const client = new GrpcClient(port);
  const keys: string[] = [];
  try {
    for (let n = 0; n < putsPerLaneMax; n++) {
      const key = `key-${lane}-${n}.`;
      const reply = await client.unary(putPath, putMessage(key)).catch(() => null);
      if (reply?.status !== 0) return keys;
      keys.push(key);
    }
  } finally {
    client.close();
  }
  return assert.fail("puts go on to be acknowledged while no fdatasync succeeds");
}

/** All that was written to the log in the writes that an fdatasync confirmed; there is one write at a time. */
function confirmedWrites(calls: readonly SystemCall[]): string {
  const ofLog = calls.filter((call) => ofDescriptor(call).endsWith(".seg"));
  const confirmed = ofLog.filter(
    ({ name, end }, i) =>
      name === "pwrite64" &&
      ofLog.slice(i + 1).find((next) => next.begin > end && next.name === "fdatasync")?.result === 0,
  );
  return confirmed.map(({ args }) => args).join("\n");
}

async function keysOf(options: MemberOptions): Promise<Set<string>> {
  const member = await Member.start(options);
  try {
    const { kvs } = await callAt(options.clientPort, "KV/Range", { key: base64("key-"), range_end: base64("key.") });
    return new Set((kvs as JsonObject[]).map(({ key }) => Buffer.from(String(key), "base64").toString()));
  } finally {
    await member.kill();
  }
}

const failingDisk = inFolder(async (folder) => {
  const options = await optionsAlike(ourCommand(), join(folder, "data"));
  const inject = ["-e", `inject=${failingSync}`];
  const traced = new TracedMember(options, join(folder, "trace"), ["pwrite64", "fdatasync"], inject);
  try {
    await traced.member.ready();
    const puts = Array.from({ length: lanes }, (_, lane) => putUntilItFails(options.clientPort, lane));
    const acknowledged = (await Promise.all(puts)).flat();
    const fatal = await traced.member.waitForLog('"level":"fatal"');
    assert.match(fatal, /Input\/output error|EIO/);
    assert.deepEqual(await traced.member.exited, { code: 1, signal: null });
    const confirmed = confirmedWrites(traced.calls());
    assert.ok(acknowledged.length > 0);
    for (const key of acknowledged) assert.ok(confirmed.includes(key), `${key} was acknowledged, not synced`);
    const found = await keysOf(options);
    for (const key of acknowledged) assert.ok(found.has(key), `${key} was acknowledged and is lost`);
  } finally {
    await traced.kill();
  }
});
test("an fdatasync that fails ends the process, and nothing acknowledged is lost", { skip }, failingDisk);
