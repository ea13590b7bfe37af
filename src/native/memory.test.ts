import { once } from "node:events";
import { test } from "node:test";
import { Worker } from "node:worker_threads";

/** Loads the addon, and tells of the end of each collection of its whole heap (kind 4). */
const code = `
  import { parentPort } from "node:worker_threads";
  import { PerformanceObserver } from "node:perf_hooks";
  const { collectGarbage } = await import(${JSON.stringify(new URL("index.js", import.meta.url).href)});
  new PerformanceObserver((list) => {
    if (list.getEntries().some((entry) => entry.detail.kind === 4)) parentPort.postMessage("collected");
  }).observe({ entryTypes: ["gc"] });
  parentPort.on("message", (what) => (what === "collect" ? collectGarbage() : parentPort.close()));
  parentPort.postMessage("ready");
`;

async function startThread(): Promise<{ worker: Worker; heard: (what: string) => Promise<void> }> {
  const worker = new Worker(new URL(`data:text/javascript,${encodeURIComponent(code)}`));
  const heard = async (what: string): Promise<void> => {
    for (;;) if (((await once(worker, "message")) as [string])[0] === what) return;
  };
  await heard("ready");
  return { worker, heard };
}

test("one thread has the heaps of all collected, those that have ended no more", { timeout: 60_000 }, async () => {
  const [idle, asking] = [await startThread(), await startThread()];
  const collected = idle.heard("collected");
  asking.worker.postMessage("collect");
  await collected;
  idle.worker.postMessage("end");
  await once(idle.worker, "exit");
  const again = asking.heard("collected");
  asking.worker.postMessage("collect");
  await again;
  asking.worker.postMessage("end");
  await once(asking.worker, "exit");
});
