/**
 * Floods of frames, bombs and thousands of connections against a member, while another client puts: the puts go on,
 * memory stays bounded, and everything is served afterwards. Attackers are threads of their own, so that the machine
 * decides how much they send, not this process.
 */
import assert from "node:assert/strict";
import { once } from "node:events";
import { readdirSync, readFileSync } from "node:fs";
import { after, before, describe, test } from "node:test";
import { setTimeout } from "node:timers/promises";
import { Worker } from "node:worker_threads";
import {
  base64,
  encodeMessage,
  frame,
  FrameFlag,
  FrameKind,
  freePorts,
  GrpcClient,
  Member,
  ourCommand,
  rawFrame,
  RawHttp2,
  requestBlock,
  temporaryFolder,
  waitForStorageVersion,
} from "../support/index.js";
import { attackNames, type AttackName, type AttackReport } from "./hostile-attacks.js";

/** Puts that must be answered while an attack goes on; each attack lasts until they are, and at least so long. */
const putsMin = 20;
const attackMsMin = 500;
/** How long one put may take on a machine that does much else. */
const putMsMax = 10_000;
/** Queues and windows of the edge, what the collector has not given back, and as much again. */
const growthMax = 500 << 20;
const timeout = 120_000;

async function put(client: GrpcClient): Promise<number> {
  const message = encodeMessage("etcdserverpb.PutRequest", { key: base64("key"), value: base64("value") });
  const began = performance.now();
  const { status, message: text } = await client.unary("/etcdserverpb.KV/Put", message);
  assert.equal(status, 0, text);
  return performance.now() - began;
}

const residentBytes = (pid: number): number => Number(readFileSync(`/proc/${pid}/statm`, "utf8").split(" ")[1]) * 4096;

/** Processor time of a process so far, in seconds. */
function cpuSeconds(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

const openFiles = (pid: number): number => readdirSync(`/proc/${pid}/fd`).length;

/** Waits, a moment at a time, for what no event tells of; the test's own time limit ends it. */
async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await setTimeout(20);
}

async function startMember(command = ourCommand()): Promise<{ member: Member; stop: () => Promise<void> }> {
  const folder = await temporaryFolder();
  const [clientPort = 0, peerPort = 0] = await freePorts(2);
  const member = await Member.start({ command, dataDir: `${folder.path}/data`, clientPort, peerPort });
  await waitForStorageVersion(clientPort);
  const stop = async (): Promise<void> => {
    await member.kill();
    await folder.remove();
  };
  return { member, stop };
}

/** Attacks until `during` is done. */
async function underAttack(name: AttackName, port: number, during: () => Promise<void>): Promise<AttackReport> {
  const worker = new Worker(new URL("hostile-attacker.worker.js", import.meta.url), { workerData: { name, port } });
  try {
    await once(worker, "message");
    await during();
    const reported = once(worker, "message");
    worker.postMessage("stop");
    const [report] = (await reported) as [AttackReport];
    return report;
  } finally {
    await worker.terminate();
  }
}

/** Takes every answer of `count` connections, made some at a time. */
async function connectMany(port: number, count: number): Promise<RawHttp2[]> {
  const clients: RawHttp2[] = [];
  while (clients.length < count) {
    const some = Array.from({ length: Math.min(250, count - clients.length) }, () => new RawHttp2(port));
    clients.push(...some);
    await Promise.all(some.map((client) => client.until(() => client.frames.length > 0)));
  }
  return clients;
}

describe("hostile clients", { timeout: 400_000, skip: process.platform !== "linux" }, () => {
  let member: Member;
  let stop: () => Promise<void>;
  let other: GrpcClient;
  before(async () => {
    ({ member, stop } = await startMember());
    other = new GrpcClient(member.port);
    await put(other);
  });
  after(async () => {
    other.close();
    await stop();
  });

  for (const name of attackNames) {
    test(name, { timeout }, async (t) => {
      const before = { memory: residentBytes(member.pid), files: openFiles(member.pid) };
      const latencies: number[] = [];
      const report = await underAttack(name, member.port, async () => {
        const end = performance.now() + attackMsMin;
        while (latencies.length < putsMin || performance.now() < end) latencies.push(await put(other));
      });
      latencies.sort((a, b) => a - b);
      const grown = residentBytes(member.pid) - before.memory;
      t.diagnostic(
        `${report.bytes >> 20} MiB on ${report.connections} connections; a put took ` +
          `${latencies[latencies.length >> 1]!.toFixed(1)} ms, at most ${latencies.at(-1)!.toFixed(1)}; memory ${grown >> 20} MiB`,
      );
      assert.ok(report.bytes > 0);
      assert.ok(latencies.at(-1)! < putMsMax, `a put took ${latencies.at(-1)} ms`);
      assert.ok(grown < growthMax, `memory grew by ${grown >> 20} MiB`);
      await until(() => openFiles(member.pid) <= before.files + 5);
      await put(other);
    });
  }

  test("10,000 connections, first idle, then with a call each", { timeout }, async (t) => {
    const limit = Number(/^Max open files\s+(\d+)/m.exec(readFileSync("/proc/self/limits", "utf8"))?.[1] ?? Infinity);
    const count = Math.min(10_000, limit - 500);
    t.diagnostic(`${count} connections`);
    assert.ok(count >= 2000, `the limit of ${limit} open files is too low for this test`);
    const files = openFiles(member.pid);
    const memory = residentBytes(member.pid);
    const clients = await connectMany(member.port, count);
    assert.ok(openFiles(member.pid) >= files + count);
    const idle = cpuSeconds(member.pid);
    const puts: number[] = [];
    for (let i = 0; i < 20; i++) puts.push(await put(other));
    t.diagnostic(
      `${Math.round((residentBytes(member.pid) - memory) / count)} bytes a connection; 20 puts took ` +
        `${((cpuSeconds(member.pid) - idle) * 1000).toFixed(0)} ms of processor time`,
    );
    const { EndHeaders, EndStream } = FrameFlag;
    const call = Buffer.concat([
      rawFrame(FrameKind.Headers, EndHeaders, 1, requestBlock("/etcdserverpb.KV/Range")),
      rawFrame(FrameKind.Data, EndStream, 1, frame(Buffer.from("\n\u0003key"))),
    ]);
    for (const client of clients) client.send(call);
    const answered = Promise.all(
      clients.map((client) =>
        client.until(() => client.frames.some(({ kind, flags }) => kind === FrameKind.Headers && flags === 5)),
      ),
    );
    for (let i = 0; i < 20; i++) puts.push(await put(other));
    await answered;
    assert.equal(clients.filter(({ closed }) => closed).length, 0);
    for (const client of clients) client.destroy();
    await until(() => openFiles(member.pid) <= files + 5);
    puts.push(await put(other));
    assert.ok(Math.max(...puts) < putMsMax, `a put took ${Math.max(...puts)} ms`);
  });
});

test("clients beyond the file descriptors wait and are served when others go", { timeout }, async (t) => {
  const command = ["/bin/sh", "-c", 'ulimit -n 400 && exec "$0" "$@"', ...ourCommand()];
  const { member, stop } = await startMember(command);
  t.after(stop);
  const other = new GrpcClient(member.port);
  t.after(() => other.close());
  await put(other);
  const clients = Array.from({ length: 400 }, () => new RawHttp2(member.port));
  t.after(() => clients.forEach((client) => client.destroy()));
  const served = (): RawHttp2[] => clients.filter(({ frames }) => frames.length > 0);
  await until(() => served().length >= 240);
  const began = cpuSeconds(member.pid);
  const at = performance.now();
  for (let i = 0; i < 20; i++) {
    await put(other);
    await setTimeout(50);
  }
  const busy = (cpuSeconds(member.pid) - began) / ((performance.now() - at) / 1000);
  t.diagnostic(`${served().length} served, ${openFiles(member.pid)} files, ${(busy * 100).toFixed(0)} % of a core`);
  assert.ok(served().length <= 250, `${served().length} clients are served: 150 files are kept`);
  assert.ok(busy < 0.5, `waiting takes ${busy} of a core`);
  const first = served();
  for (const client of first.slice(0, 200)) client.destroy();
  await until(() => served().length === clients.length);
  await put(other);
});
