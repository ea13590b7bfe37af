/** The HTTP thread: wires its port and the addon to the service. */
import { parentPort, workerData } from "node:worker_threads";
import { assert } from "../../base/index.js";
import { gatewaySubmit, Mailbox, replyBatch } from "../../native/index.js";
import type { FromHttpWorker, HttpWorkerData, ToHttpWorker } from "./http-messages.js";
import { HttpService } from "./http-service.js";
import { ReplyInbox } from "./reply-inbox.js";

assert(parentPort !== null, "http.worker runs as a worker only");
const port = parentPort;
const data = workerData as HttpWorkerData;
const mailbox = Mailbox.attach(data.mailboxHandle);
const service = new HttpService(data, {
  submit: gatewaySubmit,
  send: (message: FromHttpWorker) => port.postMessage(message),
  reply: replyBatch,
});

const inbox = new ReplyInbox(mailbox, (bytes, start, end) => service.client.receive(bytes, start, end));
mailbox.onWake(() => inbox.drain());

/** Open sockets of uWebSockets.js would make Node abort when the thread ends, so they are closed in every case. */
function stop(): void {
  mailbox.clearWake();
  service.stop();
  port.close();
}

function fail(error: unknown): void {
  const { message, stack } = error instanceof Error ? error : new Error(String(error));
  port.postMessage({ kind: "failed", message, stack } satisfies FromHttpWorker);
  stop();
}

port.on("message", (message: ToHttpWorker) => (message.kind === "close" ? stop() : service.receive(message)));
process.on("uncaughtException", fail);
service.start().catch(fail);
