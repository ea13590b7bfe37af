import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer, type AddressInfo } from "node:net";
import { get } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { silentLogger } from "../../base/index.js";
import { Mailbox } from "../../native/index.js";
import type { HttpWorkerData } from "./http-messages.js";
import { HttpThread } from "./http-thread.js";
import { unknownState } from "./server-state.js";

function start(change: Partial<HttpWorkerData>, onFailure: (error: Error) => void = () => {}): Promise<HttpThread> {
  const data: HttpWorkerData = {
    socketPath: undefined,
    listeners: [{ host: "127.0.0.1", port: 0 }],
    metricsListeners: [],
    logsDebug: false,
    reusePort: false,
    mailboxHandle: new Mailbox(1 << 20).handle,
    served: ["/etcdserverpb.KV/Range"],
    enableGateway: true,
    corsOrigins: [],
    hostWhitelist: [],
    serverVersion: "3.7.1",
    messageBytesMax: 2 << 20,
    requestTimeoutMs: 7000,
    state: unknownState,
    ...change,
  };
  return HttpThread.start({ data, metricsTexts: () => Promise.resolve([]), logger: silentLogger, onFailure });
}

function version(where: { port: number } | { socketPath: string }): Promise<string> {
  return new Promise((resolve, reject) => {
    get({ ...where, host: "127.0.0.1", path: "/version", agent: false }, (response) => {
      response.setEncoding("utf8");
      let text = "";
      response.on("data", (chunk: string) => (text += chunk)).on("end", () => resolve(text));
    }).on("error", reject);
  });
}

const undecided = '{"etcdserver":"3.7.1","etcdcluster":"not_decided","storage":"unknown"}';

test("listens on a unix socket and on its own ports, and closes both", async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "etcd-ts-http-"));
  t.after(() => rmSync(folder, { recursive: true }));
  const socketPath = join(folder, "http.sock");
  const thread = await start({
    socketPath,
    listeners: [
      { host: "127.0.0.1", port: 0 },
      { host: "127.0.0.1", port: 0 },
    ],
  });
  assert.equal(thread.ports.length, 2);
  assert.equal(await version({ socketPath }), undecided);
  for (const port of thread.ports) assert.equal(await version({ port }), undecided);
  await thread.close();
  await assert.rejects(version({ port: thread.ports[0]! }));
  const again = await start({ socketPath });
  assert.equal(await version({ socketPath }), undecided);
  await again.close();
});

test("a port in use fails the start, and the thread ends in good order", async () => {
  const taken = createServer();
  await new Promise<void>((resolve) => taken.listen(0, "127.0.0.1", resolve));
  const { port } = taken.address() as AddressInfo;
  const listeners = [
    { host: "127.0.0.1", port: 0 },
    { host: "127.0.0.1", port },
  ];
  await assert.rejects(start({ listeners }), { message: `cannot listen for HTTP on 127.0.0.1:${port}` });
  await new Promise((resolve) => taken.close(resolve));
});

test("a service that cannot be made fails the start", async () => {
  await assert.rejects(start({ served: [] }), /KV.Range is not served/);
});
