/**
 * The Python client aetcd, unmodified, through a fixed course of calls (test/e2e/python/probe.py), with a kill -9 in
 * the midst: what it hands its user must be the same from ours as from the real etcd.
 */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { test } from "node:test";
import { etcdBinaries, Member, ourCommand, packageRoot, pythonWith } from "../support/index.js";
import { startPair, type PairMember } from "./pair.js";

const cache = await etcdBinaries();
const ours = ourCommand();
const skip = cache.kind === "skipped" ? cache.reason : false;
const timeout = 240_000;
const packages = ["aetcd==1.0.0", "grpcio==1.85.3", "protobuf==7.36.2", "typing_extensions==4.16.0"];

const linesOf = async (python: string, side: PairMember): Promise<string[]> => {
  let { member } = side;
  const lines: string[] = [];
  const probe = join(packageRoot, "test", "e2e", "python", "probe.py");
  const child = spawn(python, [probe, side.endpoint], { stdio: ["pipe", "pipe", "pipe"] });
  let stderr = "";
  child.stderr.on("data", (chunk: Buffer) => (stderr += chunk.toString()));
  child.stdin.on("error", () => {});
  const restart = async (): Promise<void> => {
    await member.kill();
    member = await Member.start(member.options);
    child.stdin.write("started\n");
  };
  try {
    return await new Promise((resolve, reject) => {
      createInterface({ input: child.stdout }).on("line", (line) => {
        lines.push(line);
        if (line === "restart kill") restart().catch(reject);
      });
      child.once("error", reject);
      child.once("close", (code) => {
        if (code === 0) resolve(lines);
        else reject(new Error(`${side.name}: the probe ended with ${String(code)}: ${stderr}`));
      });
    });
  } finally {
    child.kill();
    await member.kill();
  }
};

test("aetcd: keys, transactions, watches, leases, locks, and a kill -9", { skip, timeout }, async (t) => {
  if (cache.kind === "skipped") return;
  const environment = await pythonWith(packages);
  if (environment.kind === "skipped") {
    t.skip(environment.reason);
    return;
  }
  const pair = await startPair(cache.binaries.etcd, ours);
  try {
    const { python } = environment;
    const [expected, actual] = await Promise.all([pair.etcd, pair.ours].map((side) => linesOf(python, side)));
    assert.ok(expected!.length >= 20, `the probe did its whole course: ${expected!.join("\n")}`);
    assert.deepEqual(actual, expected);
  } finally {
    await pair.stop();
  }
});
