/** The HTTP thread: wires its port and the addon to the service. */
import { parentPort, workerData } from "node:worker_threads";
import { assert } from "../../base/index.js";
import { gatewaySubmit, Mailbox, mailboxPrefixBytes } from "../../native/index.js";
import type { FromHttpWorker, HttpWorkerData, ToHttpWorker } from "./http-messages.js";
import { HttpService } from "./http-service.js";

assert(parentPort !== null, "http.worker runs as a worker only");
const port = parentPort;
const data = workerData as HttpWorkerData;
const mailbox = Mailbox.attach(data.mailboxHandle);
const service = new HttpService(data, {
  submit: gatewaySubmit,
  send: (message: FromHttpWorker) => port.postMessage(message),
});

let buffer = new Uint8Array(4 << 20);
mailbox.onWake(() => {
  for (let length = mailbox.receive(buffer); length > 0; length = mailbox.receive(buffer)) {
    const view = new DataView(buffer.buffer);
    for (let at = 0; at < length;) {
      const start = at + mailboxPrefixBytes;
      const end = start + view.getUint32(at, true);
      service.client.receive(buffer, start, end);
      at = (end + 7) & ~7;
    }
  }
});

port.on("message", (message: ToHttpWorker) => {
  if (message.kind === "close") mailbox.clearWake();
  service.receive(message);
  if (message.kind === "close") port.close();
});
await service.start();
