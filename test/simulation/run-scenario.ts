/** Runs a scenario in this process, where nothing else may run meanwhile. */
import type { Scenario } from "./scenario.js";
import { Trace } from "./trace.js";
import { World, type Outcome } from "./world.js";

let current: World | null = null;

/** What throws in a microtask or a promise belongs to the run in hand. */
function takeStrayErrors(): void {
  for (const name of ["uncaughtException", "unhandledRejection"] as const) {
    if (process.listenerCount(name) > 0) continue;
    process.on(name, (error: unknown) => {
      if (current === null) throw error;
      current.failed(error, name);
    });
  }
}

/** Runs it to its end. With `traced`, the outcome comes with what happened. */
export async function runScenario(
  scenario: Scenario,
  traced = false,
): Promise<Outcome & { readonly trace: Trace | null }> {
  if (current !== null) throw new Error("one run at a time");
  takeStrayErrors();
  const trace = traced ? new Trace() : null;
  current = new World(scenario, trace);
  try {
    return { ...(await current.run()), trace };
  } finally {
    current = null;
  }
}
