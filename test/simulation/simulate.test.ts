/** `npm run simulate` as its user meets it, on a server that breaks a rule of Raft. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { before, test } from "node:test";
import { drawScenario, shortRun } from "./draw-scenario.js";
import { MutatedTree } from "./mutated-tree.js";
import { mutations } from "./mutations.js";
import type { Scenario } from "./scenario.js";

const broken = mutations.find(({ name }) => name === "acknowledge before fsync")!;
/** Some of them show it. */
const seeds = { first: 1, count: 40 };

let tree: MutatedTree;
before(() => {
  tree = new MutatedTree("simulate-test");
  tree.apply(broken);
});

interface Run {
  /** Null: ended by a signal. */
  readonly code: number | null;
  readonly lines: readonly string[];
  readonly stderr: string;
}

const simulate = async (args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<Run> => {
  const child = spawn(process.execPath, [tree.simulationModule("simulate"), ...args], {
    env: { ...process.env, ...env },
    stdio: ["ignore", "pipe", "pipe"],
    timeout: 100_000,
  });
  const [stdout, stderr] = await Promise.all([text(child.stdout), text(child.stderr), once(child, "exit")]);
  return { code: child.exitCode, lines: stdout.trimEnd().split("\n"), stderr };
};

const sizeOf = ({ faults, operations }: Scenario): number => faults.length + operations.length;

test("a failure is told, shrunk, kept and drawn, and can be replayed", { timeout: 120_000 }, async () => {
  const { first, count } = seeds;
  const many = await simulate(["--seeds", `${count}`, "--first", `${first}`, "--workers", "2"]);
  assert.equal(many.code, 1, many.lines.join("\n"));
  assert.match(many.lines[0]!, new RegExp(`^seeds ${first} to ${first + count - 1}, commit [0-9a-f]{7,}|unknown`));
  assert.ok(
    many.lines.some((line) => line.startsWith(`${count}/${count} seeds, 0.`) && line.includes("simulated hours")),
    "how far it is",
  );
  assert.ok(many.lines.includes("shrinking"));
  const path = many.lines.find((line) => line.startsWith("kept "))!.match(/^kept (.*)\.json and /)![1]!;
  const seed = Number(/\d+$/.exec(path));
  assert.equal(path, join(tree.root, ".build", "simulation", `seed-${seed}`));
  assert.ok(many.lines.some((line) => line.startsWith(`FAILED seed ${seed}: `)));

  const kept = JSON.parse(readFileSync(`${path}.json`, "utf8")) as Scenario;
  const whole = drawScenario(seed, shortRun);
  assert.ok(sizeOf(kept) < sizeOf(whole), `${sizeOf(kept)} parts are left of ${sizeOf(whole)}`);
  const drawing = readFileSync(`${path}.svg`, "utf8");
  assert.match(drawing, /^<svg /);
  assert.ok(drawing.trimEnd().endsWith("</svg>"));

  const replayed = await simulate(["--scenario", `${path}.json`, "--no-shrink"]);
  assert.equal(replayed.code, 1);
  assert.match(replayed.lines[0]!, new RegExp(`^scenario .*, seed ${seed}, commit `));
  assert.ok(replayed.lines.some((line) => line.startsWith(`FAILED seed ${seed}: `)));
  const alone = await simulate(["--no-shrink"], { SEED: `${seed}` });
  assert.equal(alone.code, 1);
  assert.match(alone.lines[0]!, new RegExp(`^seed ${seed}, commit `));
});

test("what makes no sense is told without a stack", async () => {
  for (const [args, said] of [
    [["--seeds", "none"], '--seeds is a whole number from 1 to 1000000000, not "none"'],
    [["--nonsense"], "Unknown option '--nonsense'"],
    [["--scenario", "/nowhere.json"], "cannot use the scenario /nowhere.json"],
  ] as const) {
    const { code, stderr, lines } = await simulate(args);
    assert.equal(code, 2);
    assert.ok(stderr.startsWith(`simulate: ${said}`), stderr);
    assert.ok(stderr.includes("usage: npm run simulate") && !stderr.includes("    at "), stderr);
    assert.deepEqual(lines, [""]);
  }
});
