/** The rebuild worker: gives `RebuildThread` its port and a clock. */
import { constants, setPriority } from "node:os";
import { platform } from "node:process";
import { setImmediate as nextTurn, setTimeout as sleep } from "node:timers/promises";
import { parentPort, workerData } from "node:worker_threads";
import { nameThread } from "../../base/index.js";
import type { FromRebuild, RebuildInit, ToRebuild } from "./rebuild-messages.js";
import { RebuildThread } from "./rebuild-thread.js";

nameThread("rebuild");
// On Linux 0 is the calling thread. Puts come first, but they wait for the rebuild's end when it has no CPU at all.
if (platform === "linux") setPriority(0, constants.priority.PRIORITY_BELOW_NORMAL);

const port = parentPort!;
const thread = new RebuildThread(workerData as RebuildInit, {
  post: (message: FromRebuild) => port.postMessage(message),
  sleep: (milliseconds) => (milliseconds > 0 ? sleep(milliseconds) : nextTurn()),
});
port.on("message", (message: ToRebuild) => {
  void thread.handle(message).then((ended) => {
    if (ended) port.close();
  });
});
