/**
 * The Go client library, unmodified, through fixed courses of calls (test/e2e/clientv3/): what it hands its user must
 * be the same from ours as from the real etcd. One course is what a kube-apiserver asks, one goes on while the server
 * is killed and started again.
 */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { test } from "node:test";
import { etcdBinaries, goProgram, Member, ourCommand, packageRoot } from "../support/index.js";
import { runProgram, startPair, type PairMember } from "./pair.js";

const cache = await etcdBinaries();
const ours = ourCommand();
const skip = cache.kind === "skipped" ? cache.reason : false;
const timeout = 120_000;

/** Each with the fewest lines that its whole course prints. */
const courses: Readonly<Record<string, { readonly about: string; readonly linesMin: number }>> = {
  kv: { about: "puts, gets, ranges, txns, deletes and errors", linesMin: 70 },
  kubernetes: { about: "all that a kube-apiserver asks", linesMin: 70 },
  concurrency: { about: "sessions, mutexes, elections and STM", linesMin: 24 },
  wrappers: { about: "namespaces, ordering, leasing, mirrors and snapshots", linesMin: 9 },
};

const linesOf = async (probe: string, course: string, side: PairMember): Promise<string[]> => {
  const { stdout, stderr, code } = await runProgram(probe, [course, side.endpoint]);
  assert.equal(code, 0, `${side.name}: ${stdout.slice(-2000)}${stderr}`);
  return stdout.trimEnd().split("\n");
};

const buildProbe = (): Promise<string | null> =>
  goProgram("clientv3-probe", join(packageRoot, "test", "e2e", "clientv3"));

for (const [course, { about, linesMin }] of Object.entries(courses)) {
  test(`clientv3, ${course}: ${about} as against etcd`, { skip, timeout }, async (t) => {
    if (cache.kind === "skipped") return;
    const probe = await buildProbe();
    if (probe === null) {
      t.skip("skipped: Go is missing");
      return;
    }
    const pair = await startPair(cache.binaries.etcd, ours);
    try {
      const [expected, actual] = await Promise.all([pair.etcd, pair.ours].map((side) => linesOf(probe, course, side)));
      t.diagnostic(`${expected!.length} lines`);
      assert.ok(expected!.length >= linesMin, "the probe did its whole course");
      assert.deepEqual(actual, expected);
    } finally {
      await pair.stop();
    }
  });
}

/** Runs the course that asks for restarts of its server; the lines it printed, and the server as it is then. */
const acrossRestarts = (probe: string, side: PairMember): Promise<{ lines: string[]; member: Member }> =>
  new Promise((resolve, reject) => {
    let { member } = side;
    const lines: string[] = [];
    const child = spawn(probe, ["restarts", side.endpoint], { stdio: ["pipe", "pipe", "inherit"] });
    child.stdin.on("error", () => {});
    const restart = async (how: string): Promise<void> => {
      if (how === "kill") await member.kill();
      else await member.stop();
      member = await Member.start(member.options);
      child.stdin.write("started\n");
    };
    createInterface({ input: child.stdout }).on("line", (line) => {
      lines.push(line);
      if (line.startsWith("restart ")) restart(line.slice("restart ".length)).catch(reject);
    });
    child.once("error", reject);
    child.once("close", () => resolve({ lines, member }));
  });

test(
  "clientv3, restarts: watches, leases, locks and elections outlive kill -9 and SIGTERM",
  { skip, timeout },
  async (t) => {
    if (cache.kind === "skipped") return;
    const probe = await buildProbe();
    if (probe === null) {
      t.skip("skipped: Go is missing");
      return;
    }
    const pair = await startPair(cache.binaries.etcd, ours);
    const ended: Member[] = [];
    try {
      for (const side of [pair.etcd, pair.ours]) {
        const { lines, member } = await acrossRestarts(probe, side);
        ended.push(member);
        assert.deepEqual(
          lines,
          [
            "restart kill",
            "restart term",
            "every event once: true true",
            "lease 10 true 1",
            "the session lives",
            "proclaim ok",
            "the waiter got the lock ok",
          ],
          side.name,
        );
      }
    } finally {
      for (const member of ended) await member.kill();
      await pair.stop();
    }
  },
);
