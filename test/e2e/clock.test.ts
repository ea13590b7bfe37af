/**
 * A wall clock that is set forward and back, while the member runs and between its runs: leases end neither early nor
 * never, nothing is lost, and requests go on. The clock is libfaketime's; the monotonic one is left alone, as by an
 * operator or NTP.
 */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { base64, callAt, freePorts, Member, ourCommand, temporaryFolder, type JsonObject } from "../support/index.js";

const daySeconds = 86_400;
const longTtl = 600;
/** Less than this is left of a lease only if its time jumped with the clock. */
const longTtlMin = 300;
const waitMsMax = 60_000;

/** What must be preloaded for a false clock, or why there is none. */
function fakeClock(): { library: string } | string {
  const asked = spawnSync("faketime", ["-m", "-f", "+0s", "env"], { encoding: "utf8" });
  const library = /^LD_PRELOAD=(\S+)$/m.exec(asked.stdout ?? "")?.[1];
  return library === undefined ? "faketime is not there" : { library };
}

const clock = fakeClock();
const skip = typeof clock === "string" ? clock : false;

async function put(port: number, key: string, lease = "0"): Promise<number> {
  const { header } = await callAt(port, "KV/Put", { key: base64(key), lease });
  return Number((header as JsonObject)["revision"]);
}

async function has(port: number, key: string): Promise<boolean> {
  const { count } = await callAt(port, "KV/Range", { key: base64(key) });
  return Number(count ?? 0) === 1;
}

async function grant(port: number, ttl: number): Promise<string> {
  return String((await callAt(port, "Lease/LeaseGrant", { TTL: String(ttl) }))["ID"]);
}

/** Seconds that are left; −1: it is gone. */
async function timeToLive(port: number, id: string): Promise<number> {
  return Number((await callAt(port, "Lease/LeaseTimeToLive", { ID: id }))["TTL"]);
}

/** A lease of a second ends, and takes its key along. */
async function checkLeasesEnd(port: number, key: string): Promise<void> {
  const id = await grant(port, 1);
  await put(port, key, id);
  for (const end = performance.now() + waitMsMax; (await timeToLive(port, id)) !== -1; await delay(100)) {
    assert.ok(performance.now() < end, `a lease lives ${waitMsMax} ms longer than its TTL`);
  }
  assert.equal(await has(port, key), false);
}

test("the clock goes forward and back while the member runs, and between its runs", { skip }, async (t) => {
  assert.ok(typeof clock !== "string");
  const folder = await temporaryFolder();
  const offset = join(folder.path, "offset");
  const setClock = (days: number): void =>
    writeFileSync(offset, `${days < 0 ? "-" : "+"}${Math.abs(days) * daySeconds}s\n`);
  const [clientPort = 0, peerPort = 0] = await freePorts(2);
  const options = {
    command: ourCommand(),
    dataDir: join(folder.path, "data"),
    clientPort,
    peerPort,
    env: {
      PATH: process.env["PATH"] ?? "",
      LD_PRELOAD: clock.library,
      FAKETIME_TIMESTAMP_FILE: offset,
      FAKETIME_NO_CACHE: "1",
      FAKETIME_DONT_FAKE_MONOTONIC: "1",
    },
  };
  setClock(0);
  let member = await Member.start(options);
  // Also when it fails: a member that lives on would keep this process.
  t.after(async () => {
    await member.kill();
    await folder.remove();
  });
  const long = await grant(clientPort, longTtl);
  await put(clientPort, "leased", long);
  let revision = await put(clientPort, "kept");
  for (const days of [1, -2]) {
    setClock(days);
    await checkLeasesEnd(clientPort, `short${days}`);
    assert.ok((await timeToLive(clientPort, long)) > longTtlMin, `${days} days: a lease ended early`);
  }
  for (const days of [-400, 400]) {
    await member.kill();
    setClock(days);
    member = await Member.start(options);
    const { ts } = JSON.parse(member.log[0]!) as { ts: string };
    const shown = (Date.parse(ts) - Date.now()) / (1000 * daySeconds);
    assert.ok(Math.abs(shown - days) < 1, `the clock shows ${ts}, not ${days} days off`);
    assert.ok((await timeToLive(clientPort, long)) > longTtlMin, `${days} days: a lease ended early`);
    for (const key of ["leased", "kept"]) assert.ok(await has(clientPort, key), key);
    const after = await put(clientPort, "kept");
    assert.ok(after > revision);
    revision = after;
    await checkLeasesEnd(clientPort, `restarted${days}`);
  }
});
