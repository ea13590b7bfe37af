/**
 * Lease checkpoints, seen by what a restart leaves of a lease: at ours, and at a real etcd that is restored from our
 * snapshot, the time goes on from the checkpoint, and after a renewal the whole time is there again.
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { gateLines } from "../../src/config/index.js";
import {
  callAt,
  encodeMessage,
  decodeMessage,
  etcdBinaries,
  freePorts,
  GrpcStream,
  Member,
  optionsAlike,
  ourCommand,
  readMetric,
  temporaryFolder,
  type MemberOptions,
} from "../support/index.js";
import { runProgram } from "./pair.js";

const cache = await etcdBinaries();
const skip = cache.kind === "skipped" ? cache.reason : false;

const gate = "--feature-gates=LeaseCheckpoint=true";
const ttl = 100;
/** Checkpoints come half a second after one another: by then three seconds of the lease have passed. */
const checkpointsMin = 6;
const deadlineMs = 60_000;

/** NaN before the first one. */
const checkpointsOf = (port: number): Promise<number> =>
  readMetric(port, `etcd_server_apply_duration_seconds_count\\{[^}]*op="LeaseCheckpoint"[^}]*\\}`);

const left = async (port: number, id: string): Promise<number> =>
  Number((await callAt(port, "Lease/LeaseTimeToLive", { ID: id }))["TTL"]);

/** Renews the lease; the answer's TTL. */
const renew = async (port: number, id: string): Promise<number> => {
  const stream = new GrpcStream(port, "/etcdserverpb.Lease/LeaseKeepAlive");
  stream.send(encodeMessage("etcdserverpb.LeaseKeepAliveRequest", { ID: id }));
  const deadline = performance.now() + deadlineMs;
  for (;;) {
    const [message] = stream.take();
    if (message !== undefined) {
      stream.close();
      return Number(decodeMessage("etcdserverpb.LeaseKeepAliveResponse", message).plain["TTL"]);
    }
    assert.ok(performance.now() < deadline, "a renewal is not answered");
    await stream.changed(1000);
  }
};

/** Options of a real etcd that holds what our member does. */
const restored = async (port: number, folder: string): Promise<MemberOptions> => {
  assert.ok(cache.kind === "ready");
  const { etcd, etcdctl, etcdutl } = cache.binaries;
  const file = join(folder, "ours.db");
  const dataDir = join(folder, "etcd");
  const [clientPort = 0, peerPort = 0] = await freePorts(2);
  const peer = `http://127.0.0.1:${peerPort}`;
  const saved = await runProgram(etcdctl, [`--endpoints=127.0.0.1:${port}`, "snapshot", "save", file]);
  assert.equal(saved.code, 0, saved.stderr);
  const made = await runProgram(etcdutl, [
    ...["snapshot", "restore", file, `--data-dir=${dataDir}`],
    ...[`--initial-cluster=default=${peer}`, `--initial-advertise-peer-urls=${peer}`],
  ]);
  assert.equal(made.code, 0, made.stderr);
  return { command: [etcd], dataDir, clientPort, peerPort, flags: [gate] };
};

test(
  "a restart goes on from the last checkpoint, at ours and at etcd, and a renewal takes it back",
  { skip },
  async () => {
    const folder = await temporaryFolder();
    const program = fileURLToPath(new URL("short-checkpoints.js", import.meta.url));
    const options = await optionsAlike([process.execPath, program], join(folder.path, "ours"), [gate]);
    let members = [await Member.start(options)];
    try {
      const [{ port }] = members as [Member];
      await callAt(port, "Lease/LeaseGrant", { ID: "7", TTL: String(ttl) });
      const deadline = performance.now() + deadlineMs;
      while (!((await checkpointsOf(port)) >= checkpointsMin)) {
        assert.ok(performance.now() < deadline, "no checkpoints come");
        await delay(50);
      }
      const etcd = await restored(port, folder.path);
      await members[0]!.kill();
      // As it is delivered: nothing more is written within the test.
      const ours = { ...options, command: ourCommand() };
      const start = async (): Promise<void> =>
        void (members = await Promise.all([ours, etcd].map((each) => Member.start(each))));
      await start();
      for (const { port: at } of members) {
        const seconds = await left(at, "7");
        // An election timeout is given on top.
        assert.ok(seconds > 0 && seconds <= ttl - 2, `${seconds} s left`);
      }
      for (const { port: at } of members) assert.equal(await renew(at, "7"), ttl);
      await Promise.all(members.map((member) => member.kill()));
      await start();
      const again = await Promise.all(members.map(({ port: at }) => left(at, "7")));
      assert.ok(Math.min(...again) >= ttl - 1, `a renewal is lost: ours, etcd have ${again} s left`);
    } finally {
      await Promise.all(members.map((member) => member.kill()));
      await folder.remove();
    }
  },
);

test("the help names the features as etcd's does", { skip }, async () => {
  assert.ok(cache.kind === "ready");
  const helps = await Promise.all(
    [[cache.binaries.etcd], ourCommand()].map(([program = "", ...args]) => runProgram(program, [...args, "--help"])),
  );
  const [theirs, ours] = helps.map(({ stdout, stderr }) =>
    (stdout + stderr).split("\n").filter((line) => /^    \w+=true\|false /.test(line)),
  );
  assert.deepEqual(ours, theirs);
  assert.equal(gateLines.length, theirs!.length);
});
