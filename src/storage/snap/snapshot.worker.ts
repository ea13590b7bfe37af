/** The snapshot worker: gives `SnapshotThread` its port, the store and the way to the edge. */
import { constants, setPriority } from "node:os";
import { platform } from "node:process";
import { parentPort, workerData } from "node:worker_threads";
import { nameThread } from "../../base/index.js";
import { bulkReplyBatch } from "../../native/index.js";
import { PinnedReader } from "../backend/index.js";
import type { FromSnapshots, SnapshotInit, ToSnapshots } from "./messages.js";
import { SnapshotThread } from "./snapshot-thread.js";

nameThread("snapshot");
// On Linux 0 is the calling thread: snapshots take what puts leave of the CPU.
if (platform === "linux") setPriority(0, constants.priority.PRIORITY_LOW);

const init = workerData as SnapshotInit;
const port = parentPort!;
const thread = new SnapshotThread({
  openReader: () => new PinnedReader(init.directory),
  reply: bulkReplyBatch,
  post: (message: FromSnapshots) => port.postMessage(message),
  stallMsMax: 60_000,
  jobMsMax: 3_600_000,
});
port.on("message", (message: ToSnapshots) => {
  void thread.handle(message).then((ended) => {
    if (ended) port.close();
  });
});
