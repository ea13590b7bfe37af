/** A process that stands still for a while (SIGSTOP) lets its leases end neither before their time nor never. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import {
  base64,
  callAt,
  decodeMessage,
  encodeMessage,
  GrpcStream,
  Member,
  optionsAlike,
  ourCommand,
  temporaryFolder,
  type JsonObject,
} from "../support/index.js";

/** Two leases, of 2 and 5 s, and when their keys are told to be gone, in ms from before they were granted. */
const leases = [
  { id: 2, ttl: 2 },
  { id: 5, ttl: 5 },
] as const;

/** Resolves with the time at which each key goes. */
const deletions = async (stream: GrpcStream, from: number): Promise<Map<string, number>> => {
  const gone = new Map<string, number>();
  const deadline = performance.now() + 60_000;
  while (gone.size < leases.length) {
    assert.ok(performance.now() < deadline, "a lease does not end");
    await stream.changed(1000);
    for (const message of stream.take()) {
      const { plain } = decodeMessage("etcdserverpb.WatchResponse", message);
      for (const { kv } of (plain["events"] ?? []) as JsonObject[]) {
        gone.set(String((kv as JsonObject)["key"]), performance.now() - from);
      }
    }
  }
  return gone;
};

const pauseMs = 3000;

test("leases of a process that stands still end neither early nor never", async () => {
  const folder = await temporaryFolder();
  const member = await Member.start(await optionsAlike(ourCommand(), join(folder.path, "data")));
  try {
    const { port } = member;
    const stream = new GrpcStream(port, "/etcdserverpb.Watch/Watch");
    const create = { key: base64("lease"), range_end: base64("leasf"), filters: [0] };
    stream.send(encodeMessage("etcdserverpb.WatchRequest", { create_request: create }));
    const from = performance.now();
    for (const { id, ttl } of leases) {
      await callAt(port, "Lease/LeaseGrant", { ID: String(id), TTL: String(ttl) });
      await callAt(port, "KV/Put", { key: base64(`lease ${id}`), lease: String(id) });
    }
    process.kill(member.pid, "SIGSTOP");
    await delay(pauseMs);
    process.kill(member.pid, "SIGCONT");
    const renewed = await callAt(port, "Lease/LeaseTimeToLive", { ID: "5" });
    assert.ok(Number(renewed["TTL"] ?? 0) <= 5 - pauseMs / 1000, "the pause has used up time");
    const gone = await deletions(stream, from);
    for (const { id, ttl } of leases) {
      const ms = gone.get(base64(`lease ${id}`))!;
      assert.ok(ms >= ttl * 1000, `the lease of ${ttl} s has ended after ${ms} ms`);
    }
    assert.deepEqual((await callAt(port, "Lease/LeaseLeases", {}))["leases"], undefined);
    stream.close();
  } finally {
    process.kill(member.pid, "SIGCONT");
    await member.kill();
    await folder.remove();
  }
});
