import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import net from "node:net";
import { describe, test } from "node:test";
import { setTimeout } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { CallKind } from "./call-batch.js";
import { edgeCounters } from "./edge.js";
import { Client, echo, EdgeRig, framed, putPath, watchPath } from "./edge-rig.test-support.js";
import { ReplyKind } from "./reply-batch.js";

const message = Buffer.from("hello");
const put = framed(message);

describe("the end of calls", () => {
  const silent = (): EdgeRig => new EdgeRig(() => {});

  test("a deadline ends the call with Go's text and cancels it", async () => {
    const rig = silent();
    const client = rig.connect();
    const got = await client.call(putPath, [put], { "grpc-timeout": "30m" });
    assert.deepEqual([got.code, got.text], [4, "context deadline exceeded"]);
    const call = await rig.until(({ kind }) => kind === CallKind.Call);
    await rig.until(({ kind, callId }) => kind === CallKind.Cancel && callId === call.callId);
    rig.writer.message(call.callId, ReplyKind.MessageAndEnd, message);
    rig.flush();
    assert.equal((await client.call("/x.Y/Z", [])).code, 12, "the late reply met nobody");
    const counters = rig.edge.counterBuffer();
    rig.edge.counters(counters);
    assert.equal(counters[edgeCounters.perMethod + edgeCounters.ended + 4], 1);
    client.destroy();
    await rig.close();
  });

  test("a reset cancels; a lost connection cancels and disconnects", async () => {
    const rig = silent();
    const client = rig.connect();
    const first = client.open(putPath);
    first.write(put);
    const call = await rig.until(({ kind }) => kind === CallKind.Call);
    first.close(8);
    await rig.until(({ kind, callId }) => kind === CallKind.Cancel && callId === call.callId);
    const second = client.open(watchPath);
    second.write(put);
    const watch = await rig.until(({ kind }) => kind === CallKind.Message);
    client.destroy();
    await rig.until(({ kind, connectionId }) => kind === CallKind.Disconnect && connectionId === watch.connectionId);
    assert.deepEqual(
      rig.seen.slice(-2).map(({ kind, callId }) => [kind, callId]),
      [
        [CallKind.Cancel, watch.callId],
        [CallKind.Disconnect, 0],
      ],
    );
    await rig.close();
  });

  test("an error's text is percent-encoded", async () => {
    const text = "etcdserver: 100% ümlaut\n";
    const rig = new EdgeRig((seen, { writer }) => {
      if (seen.kind === CallKind.Call) writer.status(seen.callId, 3, text);
    });
    const client = rig.connect();
    const got = await client.call(putPath, [put]);
    assert.deepEqual([got.trailersOnly, got.code, got.text], [true, 3, text]);
    assert.equal(got.headers["grpc-message"], "etcdserver: 100%25 %C3%BCmlaut%0A");
    client.destroy();
    await rig.close();
  });

  test("closing lets calls end, and refuses connections", async () => {
    const address = { host: "127.0.0.1", port: 0 };
    const rig = new EdgeRig(() => {}, { listeners: [address, address, address] });
    const clients = Array.from({ length: 6 }, () => rig.connect());
    const ended = clients.map((client) => client.call(putPath, [put]));
    const goaways = clients.map((client) => new Promise((resolve) => client.session.once("goaway", resolve)));
    const isCall = ({ kind }: { kind: number }): boolean => kind === CallKind.Call;
    await rig.until(() => rig.seen.filter(isCall).length === clients.length);
    const closed = rig.edge.close(10_000);
    await Promise.all(goaways);
    for (const { callId } of rig.seen.filter(isCall)) rig.writer.message(callId, ReplyKind.MessageAndEnd, message);
    rig.flush();
    for (const { code } of await Promise.all(ended)) assert.equal(code, 0);
    await closed;
    await assert.rejects(
      new Promise((resolve, reject) => net.connect(rig.port, "127.0.0.1", () => resolve(1)).on("error", reject)),
      /ECONNREFUSED/,
    );
  });

  test("closing cuts off what does not end in time", async () => {
    const rig = silent();
    const client = rig.connect();
    const ended = client.call(putPath, [put]);
    await rig.until(({ kind }) => kind === CallKind.Call);
    await rig.edge.close(20);
    assert.equal((await ended).code, undefined);
    client.destroy();
  });
});

describe("a client that is a nuisance", () => {
  test("pings too often are answered with GOAWAY", async () => {
    const rig = new EdgeRig(echo);
    const client = rig.connect();
    await client.call(putPath, [put]);
    const gone = new Promise<number>((resolve) => client.session.once("goaway", resolve));
    for (let i = 0; i < 5; i++) client.session.ping(() => {});
    assert.equal(await gone, 11);
    client.destroy();
    await rig.close();
  });

  test("a silent client that answers no ping is closed", async () => {
    const rig = new EdgeRig(echo, { keepalive: { intervalMs: 50, timeoutMs: 100 } });
    const raw = net.connect(rig.port, "127.0.0.1");
    raw.write(Buffer.concat([Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), Buffer.alloc(9).fill(4, 3, 4)]));
    raw.resume();
    await new Promise((resolve) => raw.once("close", resolve));
    const polite = rig.connect();
    await polite.call(putPath, [put]);
    await setTimeout(400);
    assert.equal((await polite.call(putPath, [put])).code, 0, "one that answers pings stays");
    polite.destroy();
    await rig.close();
  });

  test("one that takes no replies is not given more work, and memory stays bounded", async () => {
    const answer = Buffer.alloc(100_000, 1);
    const rig = new EdgeRig((seen, { writer }) => {
      if (seen.kind === CallKind.Call) writer.message(seen.callId, ReplyKind.MessageAndEnd, answer);
    });
    const client = rig.connect({ settings: { initialWindowSize: 0 } });
    const before = process.memoryUsage().rss;
    for (let i = 0; i < 3000; i++) client.open(putPath).end(put);
    const other = rig.connect();
    for (let i = 0; i < 50; i++) assert.equal((await other.call(putPath, [put])).code, 0, "others are served");
    const first = rig.seen.find(({ kind }) => kind === CallKind.Call)?.connectionId;
    const given = rig.seen.filter(({ kind, connectionId }) => kind === CallKind.Call && connectionId === first).length;
    assert.ok(given <= 1100, `${given} calls of a client that takes nothing were passed on`);
    const grown = (process.memoryUsage().rss - before) / (1 << 20);
    assert.ok(grown < 300, `memory grew by ${grown} MiB`);
    client.destroy();
    other.destroy();
    await rig.close();
  });

  test("while calls are not drained, clients are not read; later nothing is missing", async () => {
    const rig = new EdgeRig(echo);
    rig.paused = true;
    const client = rig.connect();
    const body = framed(Buffer.alloc(1 << 20, 9));
    const answers = Array.from({ length: 80 }, () => client.call(putPath, [body]));
    const counters = rig.edge.counterBuffer();
    let received = -1;
    for (let before = -2; received < 5 || received !== before;) {
      before = received;
      await setTimeout(200);
      rig.edge.counters(counters);
      received = counters[edgeCounters.perMethod + edgeCounters.messagesReceived]!;
    }
    // The queue's 8 MiB, and what a connection may have been granted to complete by then.
    assert.ok(received <= 8 + 22, `${received} MiB were taken in`);
    rig.paused = false;
    rig.drain();
    for (const { code } of await Promise.all(answers)) assert.equal(code, 0);
    client.destroy();
    await rig.close();
  });
});

const preface = Buffer.concat([Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), Buffer.alloc(9).fill(4, 3, 4)]);

test(
  "a process without file descriptors left serves those who are there, rests, and then serves the others",
  { timeout: 60_000, skip: process.platform !== "linux" },
  async (t) => {
    const program = fileURLToPath(new URL("edge-echo.test-support.js", import.meta.url));
    const child = spawn("/bin/sh", ["-c", 'ulimit -n 100 && exec "$0" "$1"', process.execPath, program], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    t.after(() => child.kill("SIGKILL"));
    const [line] = (await once(child.stdout, "data")) as [Buffer];
    const port = Number(line.toString());
    const first = new Client(port, {});
    assert.equal((await first.call(putPath, [put])).code, 0);
    const served = new Set<net.Socket>();
    const sockets = Array.from({ length: 200 }, () => {
      const socket = net.connect(port, "127.0.0.1");
      socket.write(preface);
      socket.on("error", () => {});
      return socket.once("data", () => served.add(socket));
    });
    t.after(() => sockets.forEach((socket) => socket.destroy()));
    while (served.size < 40) await setTimeout(20);
    const cpuSeconds = (): number => {
      const stat = readFileSync(`/proc/${child.pid}/stat`, "utf8");
      const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
      return (Number(fields[11]) + Number(fields[12])) / 100;
    };
    const before = cpuSeconds();
    await setTimeout(1000);
    const took = cpuSeconds() - before;
    assert.ok(served.size < 100, `${served.size} of 200 are served`);
    assert.ok(took < 0.5, `${took} s of processor time in a second of waiting`);
    assert.equal((await first.call(putPath, [put])).code, 0);
    while (served.size < sockets.length) {
      for (const socket of served) socket.destroy();
      await setTimeout(20);
    }
    assert.equal((await first.call(putPath, [put])).code, 0);
    first.destroy();
  },
);
