/**
 * The process as operators meet it: exit codes of bad flags, signals, the data folder and its lock,
 * start from anywhere with nothing in the environment.
 */
import assert from "node:assert/strict";
import { cp, mkdir, readdir, rm, stat } from "node:fs/promises";
import { createServer } from "node:net";
import { join } from "node:path";
import { after, test, type TestContext } from "node:test";
import {
  encodeMessage,
  etcdBinaries,
  freePorts,
  GrpcClient,
  HttpClient,
  Member,
  ourCommand,
  readStatus,
  temporaryFolder,
  type MemberOptions,
  waitForStorageVersion,
} from "../support/index.js";
import { Load } from "./crash-load.js";

const cache = await etcdBinaries();
const ours = ourCommand();
const skip = cache.kind === "skipped" ? cache.reason : false;
const stopMsMax = 1500;
const refusalMsMax = 15_000;

const folders: (() => Promise<void>)[] = [];
after(async () => {
  for (const remove of folders) await remove();
});

const newFolder = async (): Promise<string> => {
  const folder = await temporaryFolder();
  folders.push(folder.remove);
  return folder.path;
};

const newOptions = async (command: readonly string[], more: Partial<MemberOptions> = {}): Promise<MemberOptions> => {
  const [clientPort = 0, peerPort = 0] = await freePorts(2);
  return { command, dataDir: join(await newFolder(), "data"), clientPort, peerPort, ...more };
};

const put = async (port: number, key: string): Promise<void> => {
  const client = new GrpcClient(port);
  const request = encodeMessage("etcdserverpb.PutRequest", { key: Buffer.from(key).toString("base64") });
  const reply = await client.unary("/etcdserverpb.KV/Put", request);
  client.close();
  assert.equal(reply.status, 0, reply.message);
};

const count = async (port: number, key: string): Promise<number> => {
  const client = new GrpcClient(port);
  const request = encodeMessage("etcdserverpb.RangeRequest", { key: Buffer.from(key).toString("base64") });
  const reply = await client.unary("/etcdserverpb.KV/Range", request);
  client.close();
  return reply.messages[0]?.includes(key) === true ? 1 : 0;
};

/** The process must end by itself, soon. */
const refusal = async (member: Member): Promise<{ code: number | null; log: string }> => {
  const timer = setTimeout(() => member.signal("SIGKILL"), refusalMsMax);
  const exit = await member.exited;
  clearTimeout(timer);
  return { code: exit.code, log: `${member.stdout}\n${member.log.slice(-30).join("\n")}` };
};

const isServing = (member: Member): boolean =>
  member.log.some((line) => line.includes("ready to serve client requests"));

/** The entry that a member's first put is. */
const firstPutIndex = async (command: readonly string[]): Promise<unknown> => {
  const options = await newOptions(command);
  const member = await Member.start(options);
  await member.ready();
  await waitForStorageVersion(options.clientPort);
  await put(options.clientPort, "k");
  const { raftIndex } = await readStatus(options.clientPort);
  await member.stop();
  return raftIndex;
};

test("a new member's first entries are as many as a real etcd's", { skip }, async () => {
  assert.ok(cache.kind === "ready");
  assert.equal(await firstPutIndex(ours), await firstPutIndex([cache.binaries.etcd]));
});

interface FlagCase {
  readonly name: string;
  readonly args: (ports: { client: number; peer: number }) => readonly string[];
  readonly env?: Readonly<Record<string, string>>;
}

const flagCases: readonly FlagCase[] = [
  { name: "unknown flag", args: () => ["--no-such-flag"] },
  { name: "unknown flag with a value", args: () => ["--no-such-flag=1"] },
  { name: "removed experimental flag", args: () => ["--experimental-initial-corrupt-check=true"] },
  { name: "stray word", args: () => ["start"] },
  { name: "flag without its value", args: () => ["--name"] },
  { name: "number that is none", args: () => ["--heartbeat-interval=abc"] },
  { name: "negative unsigned number", args: () => ["--max-txn-ops=-1"] },
  { name: "number too large", args: () => ["--max-concurrent-streams=4294967296"] },
  { name: "quota that is no number", args: () => ["--quota-backend-bytes=1GB"] },
  { name: "duration without unit", args: () => ["--grpc-keepalive-timeout=20"] },
  { name: "bool that is none", args: () => ["--pre-vote=maybe"] },
  { name: "election timeout below five heartbeats", args: () => ["--election-timeout=400"] },
  { name: "election timeout too long", args: () => ["--election-timeout=60000"] },
  { name: "heartbeat of 0", args: () => ["--heartbeat-interval=0"] },
  { name: "cluster state", args: () => ["--initial-cluster-state=maybe"] },
  {
    name: "client URLs without advertised ones",
    args: ({ client }) => [`--listen-client-urls=http://127.0.0.1:${client}`],
  },
  { name: "URL without scheme", args: ({ client }) => [`--listen-client-urls=127.0.0.1:${client}`] },
  { name: "URL with a host name", args: () => ["--listen-peer-urls=http://example.com:1"] },
  { name: "URL with a path", args: () => ["--advertise-client-urls=http://127.0.0.1:1/path"] },
  { name: "URL without port", args: () => ["--listen-peer-urls=http://127.0.0.1"] },
  { name: "compaction mode", args: () => ["--auto-compaction-mode=sometimes"] },
  {
    name: "name not in the initial cluster",
    args: () => ["--name=other", "--initial-cluster=default=http://127.0.0.1:7"],
  },
  { name: "advertised URL not in the initial cluster", args: () => ["--initial-cluster=default=http://127.0.0.1:8"] },
  { name: "malformed initial cluster", args: () => ["--initial-cluster=nonsense"] },
  { name: "feature gate", args: () => ["--feature-gates=NoSuchGate=true"] },
  { name: "log level", args: () => ["--log-level=loud"] },
  { name: "log format", args: () => ["--log-format=xml"] },
  { name: "missing config file", args: () => ["--config-file=/nonexistent/etcd.yaml"] },
  { name: "variable shadowed by a flag", args: () => ["--name=a"], env: { ETCD_NAME: "b" } },
  { name: "bad variable", args: () => [], env: { ETCD_HEARTBEAT_INTERVAL: "abc" } },
  { name: "bad variable of a number too large", args: () => [], env: { ETCD_MAX_TXN_OPS: "-5" } },
  { name: "help", args: () => ["--help"] },
  { name: "short help", args: () => ["-h"] },
  { name: "version", args: () => ["--version"] },
  { name: "version with one dash", args: () => ["-version"] },
];

const exitCode = async (command: readonly string[], one: FlagCase): Promise<number | null> => {
  const options = await newOptions(command, { env: { PATH: process.env["PATH"] ?? "", ...one.env } });
  await mkdir(options.dataDir, { mode: 0o700 });
  const [client = 0, peer = 0, free = 0] = await freePorts(3);
  // Nothing of a case that starts by mistake may meet the default ports.
  const given = one.args({ client, peer });
  const has = (name: string): boolean => given.some((arg) => arg.startsWith(`--${name}`));
  const filler = [
    ...(has("data-dir") ? [] : [`--data-dir=${options.dataDir}`]),
    ...(has("listen-peer-urls") ? [] : [`--listen-peer-urls=http://127.0.0.1:${free}`]),
    ...(has("listen-client-urls") || has("advertise-client-urls")
      ? []
      : [`--listen-client-urls=http://127.0.0.1:${client}`, `--advertise-client-urls=http://127.0.0.1:${client}`]),
    ...(has("initial-advertise-peer-urls") ? [] : ["--initial-advertise-peer-urls=http://127.0.0.1:7"]),
    ...(has("initial-cluster") || has("name") ? [] : ["--initial-cluster=default=http://127.0.0.1:7"]),
  ];
  const isQuestion = given.some((arg) => /help|version|^-h$/.test(arg));
  const member = Member.launchBare(options, isQuestion || given[0] === "--name" ? given : [...filler, ...given]);
  return (await refusal(member)).code;
};

test(`bad flags end with etcd's exit codes (${flagCases.length} cases)`, { skip }, async (t) => {
  if (cache.kind === "skipped") return;
  let differing = 0;
  for (const one of flagCases) {
    const [etcd, other] = await Promise.all([exitCode([cache.binaries.etcd], one), exitCode(ours, one)]);
    if (etcd === other) continue;
    differing++;
    t.diagnostic(`${one.name} (${one.args({ client: 1, peer: 2 }).join(" ")}): etcd ${etcd}, ours ${other}`);
  }
  assert.equal(differing, 0, `${differing} exit codes differ`);
});

test("--version prints the version that tools parse", async () => {
  const member = Member.launchBare(await newOptions(ours), ["--version"]);
  assert.equal((await member.exited).code, 0);
  assert.match(member.stdout, /^etcd Version: 3\.7\.1\nGit SHA: .+\nGo Version: \S.*\nGo OS\/Arch: \S+\/\S+\n/);
});

test("a port in use ends the start with 1 and names it", async () => {
  const options = await newOptions(ours);
  const taken = createServer();
  await new Promise<void>((resolve) => taken.listen(options.clientPort, "127.0.0.1", resolve));
  const { code, log } = await refusal(Member.launch(options));
  taken.close();
  assert.equal(code, 1);
  assert.ok(log.includes(String(options.clientPort)), "the port is named");
});

const stopTime = async (member: Member, signal: NodeJS.Signals): Promise<number> => {
  const start = performance.now();
  member.signal(signal);
  const exit = await member.exited;
  assert.deepEqual(exit, { code: null, signal }, "ends by the signal itself");
  return performance.now() - start;
};

const checkStop = async (t: TestContext, ms: number): Promise<void> => {
  t.diagnostic(`stopped after ${ms.toFixed(0)} ms`);
  assert.ok(ms < stopMsMax, `took ${ms.toFixed(0)} ms`);
};

for (const signal of ["SIGTERM", "SIGINT"] as const) {
  test(`${signal} stops an idle member in less than ${stopMsMax} ms, by the signal`, async (t) => {
    const options = await newOptions(ours);
    const member = await Member.start(options);
    await put(options.clientPort, "kept");
    const http = new HttpClient(options.clientPort);
    await http.send({ method: "GET", path: "/health" });
    await checkStop(t, await stopTime(member, signal));
    http.close();
    const again = await Member.start(options);
    assert.equal(await count(options.clientPort, "kept"), 1);
    await again.kill();
  });
}

test(`SIGTERM under load stops in less than ${stopMsMax} ms and loses nothing`, async (t) => {
  const options = await newOptions(ours);
  const member = await Member.start(options);
  const load = new Load(
    { port: options.clientPort, seed: 1, round: 0, connections: 4, writersPerConnection: 8, reachAt: 500 },
    1,
  );
  const running = load.run();
  await Promise.race([load.reached, running]);
  await checkStop(t, await stopTime(member, "SIGTERM"));
  await running;
  const again = await Member.start(options);
  const unique = load.writes.filter(
    ({ revision, changes }) => revision !== null && changes[0]?.key.startsWith("unique/"),
  );
  assert.ok(unique.length > 50);
  for (const { changes } of unique.slice(-50)) assert.equal(await count(options.clientPort, changes[0]?.key ?? ""), 1);
  await again.kill();
});

test("a second process on the same data folder is refused, the first goes on", async () => {
  const options = await newOptions(ours);
  const first = await Member.start(options);
  const [clientPort = 0, peerPort = 0] = await freePorts(2);
  const second = Member.launch({ ...options, clientPort, peerPort });
  const { code, log } = await refusal(second);
  assert.equal(code, 1, log.slice(-2000));
  assert.equal(isServing(second), false);
  await put(options.clientPort, "still");
  assert.equal(await count(options.clientPort, "still"), 1);
  await first.kill();
});

test("a real etcd's data folder is refused with what to do, and left as it is", { skip }, async () => {
  if (cache.kind === "skipped") return;
  const options = await newOptions([cache.binaries.etcd]);
  const etcd = await Member.start(options);
  await put(options.clientPort, "theirs");
  await etcd.stop();
  const before = await readdir(join(options.dataDir, "member"), { recursive: true });
  const member = Member.launch({ ...options, command: ours });
  const { code, log } = await refusal(member);
  assert.equal(code, 1, log.slice(-2000));
  assert.equal(isServing(member), false);
  assert.match(log, /snapshot|convert|restore|migrat/i, "says what to do");
  assert.deepEqual((await readdir(join(options.dataDir, "member"), { recursive: true })).toSorted(), before.toSorted());
  const again = await Member.start(options);
  assert.equal(await count(options.clientPort, "theirs"), 1);
  await again.kill();
});

for (const missing of ["wal", "db"] as const) {
  test(`a data folder without its ${missing} is refused, never bootstrapped over`, async () => {
    const options = await newOptions(ours);
    const first = await Member.start(options);
    await put(options.clientPort, "precious");
    await first.stop();
    const memberFolder = join(options.dataDir, "member");
    const parts = (await readdir(memberFolder)).filter((name) =>
      missing === "wal" ? name === "wal" : /^db|^snap/.test(name),
    );
    assert.ok(parts.length > 0, "the part exists");
    const aside = await newFolder();
    for (const part of parts) {
      await cp(join(memberFolder, part), join(aside, part), { recursive: true });
      await rm(join(memberFolder, part), { recursive: true });
    }
    const second = Member.launch(options);
    const { code, log } = await refusal(second);
    assert.equal(code, 1, log.slice(-2000));
    assert.equal(isServing(second), false);
    for (const part of parts) await cp(join(aside, part), join(memberFolder, part), { recursive: true });
    const third = await Member.start(options);
    assert.equal(await count(options.clientPort, "precious"), 1, "put back, it is whole again");
    await third.kill();
  });
}

test("the data folder is made 0700", async () => {
  const options = await newOptions(ours);
  const member = await Member.start(options);
  for (const folder of [options.dataDir, join(options.dataDir, "member")]) {
    assert.equal((await stat(folder)).mode & 0o777, 0o700, folder);
  }
  await member.kill();
});

test("--wal-dir holds the WAL, and it is found again", async () => {
  const walDir = join(await newFolder(), "wal-elsewhere");
  const options = await newOptions(ours, { flags: [`--wal-dir=${walDir}`] });
  const member = await Member.start(options);
  await put(options.clientPort, "kept");
  await member.kill();
  assert.ok((await readdir(walDir)).length > 0);
  const again = await Member.start(options);
  assert.equal(await count(options.clientPort, "kept"), 1);
  await again.kill();
});

test("a restart ignores --initial-cluster and the state", async () => {
  const options = await newOptions(ours);
  const member = await Member.start(options);
  await put(options.clientPort, "kept");
  await member.stop();
  const changed = [
    "--initial-cluster=other=http://127.0.0.1:1,default=http://127.0.0.1:7",
    "--initial-cluster-state=existing",
  ];
  const again = await Member.start({
    ...options,
    advertisePeerUrl: "http://127.0.0.1:7",
    flags: [...changed, "--initial-cluster-token=another"],
  });
  assert.equal(await count(options.clientPort, "kept"), 1);
  await again.kill();
});

test("starts with an empty environment, from any folder, and a relative data folder is there", async () => {
  const cwd = await newFolder();
  const options = await newOptions(ours, { env: {}, cwd, dataDir: "relative.etcd" });
  const member = await Member.start(options);
  await put(options.clientPort, "kept");
  assert.equal((await stat(join(cwd, "relative.etcd", "member"))).isDirectory(), true);
  await checkHealthyLog(member);
  await member.stop();
});

/** One JSON object a line on stderr, none of level error. */
const checkHealthyLog = async (member: Member): Promise<void> => {
  for (const line of member.log) {
    const entry = JSON.parse(line) as { level?: string; ts?: string; caller?: string; msg?: string };
    assert.match(entry.level ?? "", /^(debug|info|warn)$/, line);
    assert.match(entry.ts ?? "", /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+(Z|[+-]\d\d:?\d\d)$/, line);
    assert.equal(typeof entry.msg, "string", line);
    assert.match(entry.caller ?? "", /^\S+\/\S+:\d+$/, line);
  }
};

test("variables configure it as flags do", async () => {
  const options = await newOptions(ours);
  const url = `http://127.0.0.1:${options.clientPort}`;
  const peer = `http://127.0.0.1:${options.peerPort}`;
  const member = Member.launchBare(
    {
      ...options,
      env: {
        PATH: process.env["PATH"] ?? "",
        ETCD_NAME: "by-variable",
        ETCD_DATA_DIR: options.dataDir,
        ETCD_LISTEN_CLIENT_URLS: url,
        ETCD_ADVERTISE_CLIENT_URLS: url,
        ETCD_LISTEN_PEER_URLS: peer,
        ETCD_INITIAL_ADVERTISE_PEER_URLS: peer,
        ETCD_INITIAL_CLUSTER: `by-variable=${peer}`,
      },
    },
    [],
  );
  await member.ready();
  const http = new HttpClient(options.clientPort);
  const reply = await http.send({ method: "POST", path: "/v3/cluster/member/list", body: Buffer.from("{}") });
  assert.ok(reply.body.includes('"by-variable"'), reply.body.toString());
  http.close();
  await member.kill();
});
