import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { get } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { AlarmBoard, silentLogger } from "../../base/index.js";
import { Mailbox } from "../../native/index.js";
import type { HttpWorkerData } from "./http-messages.js";
import { HttpThread } from "./http-thread.js";
import { unknownState } from "./server-state.js";

const folder = mkdtempSync(join(tmpdir(), "etcd-ts-http-"));
after(() => rmSync(folder, { recursive: true }));

function start(change: Partial<HttpWorkerData>, onFailure: (error: Error) => void = () => {}): Promise<HttpThread> {
  const data: HttpWorkerData = {
    socketPath: join(folder, "http"),
    metricsSocketPath: undefined,
    logsDebug: false,
    slowAfterMs: 300,
    mailboxHandle: new Mailbox(1 << 20).handle,
    served: ["/etcdserverpb.KV/Range"],
    enableGateway: true,
    corsOrigins: [],
    hostWhitelist: [],
    serverVersion: "3.7.1",
    messageBytesMax: 2 << 20,
    requestTimeoutMs: 7000,
    state: unknownState,
    alarmBoard: new AlarmBoard().memory,
    ...change,
  };
  const metricsTexts = (): Promise<string[]> => Promise.resolve([]);
  const debugVars = (): string => '{"vars":1}';
  return HttpThread.start({ data, metricsTexts, debugVars, onCallEnded: () => {}, logger: silentLogger, onFailure });
}

function ask(socketPath: string, path: string): Promise<string> {
  return new Promise((resolve, reject) => {
    get({ socketPath, path, agent: false }, (response) => {
      response.setEncoding("utf8");
      let text = "";
      response.on("data", (chunk: string) => (text += chunk)).on("end", () => resolve(text));
    }).on("error", reject);
  });
}

const decided = { ...unknownState, hasLeader: true, clusterVersion: "3.7.0", storageVersion: "3.7.0" };
const versions = '{"etcdserver":"3.7.1","etcdcluster":"3.7.0","storage":"3.7.0"}';
const undecided = '{"etcdserver":"3.7.1","etcdcluster":"not_decided","storage":"unknown"}';

test("listens on its sockets, and closes them", async () => {
  const [socketPath, metricsSocketPath] = [join(folder, "both"), join(folder, "metrics")];
  const thread = await start({ socketPath, metricsSocketPath });
  thread.setState(unknownState);
  assert.equal(await ask(socketPath, "/version"), undecided);
  assert.equal(await ask(metricsSocketPath, "/version"), "404 page not found\n");
  assert.equal(await ask(metricsSocketPath, "/readyz/non_learner"), "ok\n");
  await thread.close();
  await assert.rejects(ask(socketPath, "/version"));
  await assert.rejects(ask(metricsSocketPath, "/version"));
  rmSync(socketPath, { force: true });
  const again = await start({ socketPath });
  again.setState(unknownState);
  assert.equal(await ask(socketPath, "/version"), undecided);
  await again.close();
});

test("clients' requests wait until the member serves them, and those for metrics do not", async () => {
  const [socketPath, metricsSocketPath] = [join(folder, "early"), join(folder, "early-metrics")];
  const thread = await start({ socketPath, metricsSocketPath });
  let answered = false;
  const early = ask(socketPath, "/version").finally(() => (answered = true));
  // Two requests of another connection have come and gone meanwhile.
  for (let i = 0; i < 2; i++) assert.match(await ask(metricsSocketPath, "/health"), /RAFT NO LEADER/);
  assert.equal(answered, false);
  thread.setState(decided);
  assert.equal(await early, versions);
  await thread.close();
});

test("a socket that cannot be made fails the start, and the thread ends in good order", async () => {
  const metricsSocketPath = join(folder, "nowhere", "socket");
  await assert.rejects(start({ metricsSocketPath }), { message: `cannot listen for HTTP on ${metricsSocketPath}` });
});

test("a service that cannot be made fails the start", async () => {
  await assert.rejects(start({ served: [] }), /KV.Range is not served/);
});
