/** --warning-unary-request-duration: a slow call's line beside etcd's. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { encodeMessage, etcdBinaries, GrpcClient, HttpClient, ourCommand } from "../support/index.js";
import { startPair, type PairMember } from "./pair.js";

const cache = await etcdBinaries();
const skip = cache.kind === "ready" ? false : cache.reason;
const key = Buffer.from("k").toString("base64");
const putRequest = encodeMessage("etcdserverpb.PutRequest", { key, value: key });

/** The line about a put. */
const lineOfPut = async ({ member }: PairMember): Promise<Record<string, unknown>> => {
  const client = new GrpcClient(member.port);
  await client.unary("/etcdserverpb.KV/Put", putRequest);
  client.close();
  const line = await member.waitForLog('"response type":"/etcdserverpb.KV/Put"');
  return JSON.parse(line) as Record<string, unknown>;
};

test("a slow call is logged as by etcd", { skip }, async () => {
  if (cache.kind !== "ready") return;
  const pair = await startPair(cache.binaries.etcd, ourCommand(), ["--warning-unary-request-duration=1us"]);
  try {
    const [etcd, ours] = [await lineOfPut(pair.etcd), await lineOfPut(pair.ours)];
    for (const name of ["level", "msg", "response type", "request size"]) assert.equal(ours[name], etcd[name], name);
    assert.equal(ours["request size"], putRequest.length);
    for (const name of ["start time", "time spent", "remote", "response size"]) assert.ok(name in etcd, name);
    assert.ok(Math.abs(Date.parse(String(ours["start time"])) - Date.now()) < 60_000);
    assert.match(String(ours["time spent"]), /^[0-9.]+ms$/);
    assert.match(String(ours["remote"]), /^127\.0\.0\.1:\d+$/);
    assert.ok(Number(ours["response size"]) > 0);
    const http = new HttpClient(pair.ours.member.port);
    await http.send({ method: "POST", path: "/v3/kv/range", body: Buffer.from(JSON.stringify({ key })) });
    http.close();
    await pair.ours.member.waitForLog('"remote":"gateway","response type":"/etcdserverpb.KV/Range","request size":3');
  } finally {
    await pair.stop();
  }
});
