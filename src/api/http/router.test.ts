import assert from "node:assert/strict";
import { test } from "node:test";
import { silentLogger } from "../../base/index.js";
import { RequestLog } from "../request-stats.js";
import { CallBatchReader, CallKind, MetadataTag, ReplyBatchWriter, ReplyKind } from "../../native/index.js";
import { CallClient } from "./call-client.js";
import type { HttpRequest, HttpResponse } from "./exchange.js";
import { Gateway } from "./gateway.js";
import { Router } from "./router.js";
import { unknownState } from "./server-state.js";
import { cleanPath, decodePath } from "./url-path.js";

const served = ["/etcdserverpb.KV/Range"];
const answer: HttpResponse = { status: 200, headers: [], body: "" };

function request(
  method: string,
  path: string,
  headers: Record<string, string> = {},
  body = "",
): HttpRequest & { go(): void } {
  const gone: (() => void)[] = [];
  return {
    method,
    path,
    query: "",
    body: Buffer.from(body),
    header: (name) => headers[name] ?? "",
    onBody: () => {},
    onGone: (callback) => void gone.push(callback),
    go: () => gone.forEach((callback) => callback()),
  };
}

/** A router over a gateway whose calls are kept, to be answered or not. */
function setUp(options: { corsOrigins?: string[]; hostWhitelist?: string[]; answers?: boolean } = {}) {
  const calls: { id: number; kind: number; flags: number; token: string | undefined }[] = [];
  const client: CallClient = new CallClient(
    (bytes, length) => {
      const reader = new CallBatchReader();
      reader.reset(bytes, length);
      const replies = new ReplyBatchWriter();
      while (reader.next()) {
        const token = reader.metadata(MetadataTag.Token);
        const text = token && Buffer.from(token).toString("latin1");
        calls.push({ id: reader.callId, kind: reader.kind, flags: reader.flags, token: text });
        if (options.answers !== false && reader.kind === CallKind.Call) {
          replies.message(reader.callId, ReplyKind.MessageAndEnd, new Uint8Array(0));
        }
      }
      client.receive(replies.bytes, 0, replies.length);
      return true;
    },
    { callsMax: 10 },
  );
  const requestLog = new RequestLog({ logger: silentLogger, logsDebug: false, slowAfterMs: 300 });
  const router = new Router({
    gateway: new Gateway(client, { served, messageBytesMax: 100, requestLog }),
    handlers: new Map([
      ["/health", () => answer],
      ["/metrics", () => answer],
    ]),
    state: () => unknownState,
    logger: silentLogger,
    corsOrigins: options.corsOrigins ?? ["*"],
    hostWhitelist: options.hostWhitelist ?? ["*"],
    serverVersion: "3.7.1",
    served: Promise.resolve(),
  });
  return { router, calls };
}

const header = (response: HttpResponse | undefined, name: string): string | undefined =>
  response?.headers.find(([key]) => key === name)?.[1];

test("CORS: any origin, or the listed ones", async () => {
  const any = await setUp().router.handle(request("GET", "/version"));
  assert.equal(header(any, "Access-Control-Allow-Origin"), "*");
  const { router } = setUp({ corsOrigins: ["http://a"] });
  const listed = await router.handle(request("OPTIONS", "/anything", { origin: "http://a" }));
  assert.deepEqual([listed?.status, header(listed, "Access-Control-Allow-Origin")], [200, "http://a"]);
  const foreign = await router.handle(request("GET", "/version", { origin: "http://b" }));
  assert.deepEqual([foreign?.status, header(foreign, "Access-Control-Allow-Origin")], [200, undefined]);
});

test("foreign Host headers are refused with the reason", async () => {
  const { router } = setUp({ hostWhitelist: ["localhost", "::1"] });
  for (const host of ["localhost", "localhost:2379", "[::1]:2379"]) {
    assert.equal((await router.handle(request("GET", "/version", { host })))?.status, 200, host);
  }
  const refused = await router.handle(request("GET", "/version", { host: "evil:80" }));
  assert.equal(refused?.status, 421);
  assert.match(String(refused?.body), /etcd --host-whitelist "evil"\n/);
});

test("a client that goes away cancels its call and gets no answer", async () => {
  const { router, calls } = setUp({ answers: false });
  const asked = request("POST", "/v3/kv/range", {}, '{"key":"YQ=="}');
  const reply = router.handle(asked);
  for (let turn = 0; turn < 10 && calls.length === 0; turn++) await new Promise((resolve) => setImmediate(resolve));
  assert.equal(calls.length, 1);
  asked.go();
  assert.equal(await reply, undefined);
  await new Promise((resolve) => setImmediate(resolve));
  assert.deepEqual(
    calls.map(({ kind }) => kind),
    [CallKind.Call, CallKind.Cancel],
  );
  assert.equal(calls[0]!.id, calls[1]!.id);
});

test("a deadline ends the call", async () => {
  const { router, calls } = setUp({ answers: false });
  const reply = await router.handle(request("POST", "/v3/kv/range", { "grpc-timeout": "1m" }, '{"key":"YQ=="}'));
  assert.equal(reply?.status, 504);
  assert.equal(reply?.body, '{"code":4, "message":"context deadline exceeded"}');
  await new Promise((resolve) => setImmediate(resolve));
  assert.deepEqual(
    calls.map(({ kind }) => kind),
    [CallKind.Call, CallKind.Cancel],
  );
});

test("metadata: gateway and leader flags", async () => {
  const { router, calls } = setUp();
  await router.handle(request("POST", "/v3/kv/range", { "grpc-metadata-hasleader": "true" }));
  await router.handle(request("POST", "/v3/kv/range"));
  assert.deepEqual(
    calls.map(({ flags }) => flags),
    [3, 2],
  );
});

test("metadata: the token, with or without its scheme; a gRPC one counts more", async () => {
  const { router, calls } = setUp();
  for (const headers of [
    {},
    { authorization: "Bearer abc.1" },
    { authorization: "abc.1" },
    { "grpc-metadata-token": "xyz.2", authorization: "abc.1" },
  ])
    await router.handle(request("POST", "/v3/kv/range", headers));
  assert.deepEqual(
    calls.map(({ token }) => token),
    [undefined, "abc.1", "abc.1", "xyz.2"],
  );
});

test("paths", () => {
  assert.equal(decodePath("/a%2fb%20"), "/a/b ");
  assert.equal(decodePath("/a%2"), undefined);
  const cleaned = ["", "/", "//", "/a/", "/a//b", "/a/./b/..", "/../a", "/a/b/../", "/.."].map(cleanPath);
  assert.deepEqual(cleaned, ["/", "/", "/", "/a/", "/a/b", "/a", "/a", "/a/", "/"]);
});
