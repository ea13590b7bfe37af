/** A thread that attacks, as `hostile-attacks.ts` says, until it is sent a message; then it reports and ends. */
import { parentPort, workerData } from "node:worker_threads";
import { attack, type AttackName, type AttackReport } from "./hostile-attacks.js";

const { name, port } = workerData as { name: AttackName; port: number };
let isStopped = false;
let isGoing = false;
parentPort?.once("message", () => (isStopped = true));
const report: AttackReport = await attack(name, {
  port,
  stopped: () => isStopped,
  going: () => {
    if (!isGoing) parentPort?.postMessage("going");
    isGoing = true;
  },
});
parentPort?.postMessage(report);
