/** The apply worker: gives `ApplyThread` its mailboxes, the port to main, a clock and the addon's functions. */
import { randomInt } from "node:crypto";
import { parentPort, workerData } from "node:worker_threads";
import { registry } from "../metrics/index.js";
import { bulkReplyBatch, crc32c, Mailbox, pendingReplyBytes, replyBatch } from "../native/index.js";
import { nameThread, SeededPrng } from "../base/index.js";
import { ApplyThread, postFatal } from "./apply-thread.js";
import type { ApplyInit, FromApply, ToApply } from "./control.js";
import { PortLogger } from "./port-logger.js";

nameThread("apply");
const init = workerData as ApplyInit;
const port = parentPort!;
const fromMain = Mailbox.attach(init.toApply);
const toMain = Mailbox.attach(init.toMain);
const post = (message: FromApply): void => port.postMessage(message);

try {
  const thread = await ApplyThread.start(init, {
    post,
    fromMain,
    toMain,
    reply: replyBatch,
    replyInBulk: bulkReplyBatch,
    pendingReplyBytes,
    crc32c,
    schedule: (run) => void setImmediate(run),
    sleep: (milliseconds) => new Promise((resolve) => void setTimeout(resolve, milliseconds)),
    clock: performance,
    after: (milliseconds, run) => void setTimeout(run, Math.min(milliseconds, 2 ** 31 - 1)).unref(),
    prng: new SeededPrng(randomInt(2 ** 32)),
    registry,
    logger: new PortLogger(post, init.logLevel, "apply"),
  });
  fromMain.onWake(() => thread.wake());
  port.on("message", (message: ToApply) => {
    void thread.handle(message).then((ended) => {
      if (!ended) return;
      fromMain.clearWake();
      port.close();
    });
  });
  thread.wake();
} catch (error) {
  postFatal({ post }, error, false);
}
