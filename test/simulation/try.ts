import { drawScenario, longRun, shortRun } from "./draw-scenario.js";
import { World } from "./world.js";

const first = Number(process.env["SEED"] ?? 1);
const count = Number(process.argv[2] ?? 1);
const length = process.argv[3] === "long" ? longRun : shortRun;
let current: World | null = null;
process.on("uncaughtException", (error) => current?.failed(error, "microtask"));
process.on("unhandledRejection", (error) => current?.failed(error, "promise"));
const kinds = new Map<string, number[]>();
const totals: Record<string, number> = {};
const began = process.cpuUsage();
let simulated = 0;
for (let seed = first; seed < first + count; seed++) {
  current = new World(drawScenario(seed, length));
  const outcome = await current.run();
  simulated += outcome.simulatedMs;
  for (const [name, value] of Object.entries(outcome.counts)) totals[name] = (totals[name] ?? 0) + value;
  totals["events"] = (totals["events"] ?? 0) + outcome.events;
  if (outcome.failure !== null) {
    const { kind, message, detail } = {
      ...outcome.failure,
      kind: outcome.failure.kind,
      message: outcome.failure.message,
      detail: "",
    };
    void detail;
    const seeds = kinds.get(kind) ?? [];
    if (seeds.length === 0) console.log(`seed ${seed}: ${message}`);
    seeds.push(seed);
    kinds.set(kind, seeds);
  }
}
const { user, system } = process.cpuUsage(began);
console.log([...kinds].map(([kind, seeds]) => `${kind}: ${seeds.length}: ${seeds.slice(0, 10).join(" ")}`).join("\n"));
console.log(
  `${count} seeds, ${((user + system) / 1000 / count).toFixed(1)} ms CPU each, ${(simulated / 3.6e6).toFixed(2)} h simulated`,
  totals,
);
