/**
 * `node regressions.js`: runs the scenarios that once failed, kept in test/simulation/seeds.json. Prints a line for
 * each that fails again.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { packageRoot } from "../../src/base/index.js";
import { runScenario } from "./run-scenario.js";
import type { Scenario } from "./scenario.js";

/** A scenario that once failed. */
export interface KeptScenario {
  /** What it showed. */
  readonly name: string;
  /** How it failed. */
  readonly kind: string;
  readonly scenario: Scenario;
}

const kept = JSON.parse(
  readFileSync(join(packageRoot(), "test", "simulation", "seeds.json"), "utf8"),
) as readonly KeptScenario[];

for (const { name, scenario } of kept) {
  const { failure } = await runScenario(scenario);
  if (failure === null) continue;
  process.exitCode = 1;
  process.stdout.write(`${name}: ${failure.message}\n`);
}
process.stdout.write(`${kept.length} kept scenarios\n`);
