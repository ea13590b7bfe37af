/** A member alone with etcd's corruption checks on: it starts, checks, says etcd's lines, and raises nothing. */
import assert from "node:assert/strict";
import { test } from "node:test";
import {
  base64,
  callOn,
  etcdBinaries,
  freePorts,
  GrpcClient,
  Member,
  ourCommand,
  temporaryFolder,
} from "../support/index.js";

const cache = await etcdBinaries();
const commands = [ourCommand(), ...(cache.kind === "ready" ? [[cache.binaries.etcd]] : [])];

const options = [
  "--feature-gates=InitialCorruptCheck=true,CompactHashCheck=true",
  "--corrupt-check-time=100ms",
  "--compact-hash-check-time=100ms",
];
const lines = [
  "enabled corruption checking",
  "starting initial corruption check",
  "initial corruption checking passed; no corruption",
  "finished peer corruption check",
  "starting compact hash check",
  "finished compaction hash check",
];

for (const command of commands) {
  test(`a restarted member checks itself, and others when there are some: ${command.join(" ")}`, async () => {
    const folder = await temporaryFolder();
    const [clientPort = 0, peerPort = 0] = await freePorts(2);
    const start = (): Promise<Member> =>
      Member.start({ command, dataDir: folder.path, clientPort, peerPort, flags: options });
    let member = await start();
    try {
      assert.ok(!member.log.some((line) => line.includes("initial corruption check")), "there is nothing to check");
      await member.stop();
      member = await start();
      const client = new GrpcClient(clientPort);
      for (const value of ["a", "b"]) await callOn(client, "KV/Put", { key: base64("k"), value: base64(value) });
      await callOn(client, "KV/Compact", { revision: "2", physical: true });
      for (const line of lines) await member.waitForLog(line);
      assert.deepEqual((await callOn(client, "Maintenance/Alarm", {}))["alarms"] ?? [], []);
      client.close();
    } finally {
      await member.kill();
      await folder.remove();
    }
  });
}
