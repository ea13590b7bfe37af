/** `npm start -- <flags>` in the checkout: package.json's own line, run as npm runs it. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, test } from "node:test";
import { base64, callAt, freePorts, type JsonObject, Member, packageRoot, temporaryFolder } from "../support/index.js";

const { scripts } = JSON.parse(readFileSync(join(packageRoot, "package.json"), "utf8")) as {
  scripts: { start: string };
};
/** The line in the shell; `env` takes its settings, so that signals meet the server and no shell around it. */
const command = ["/bin/sh", "-c", `exec env ${scripts.start} "$@"`, "start"];

/** A server that does not end when it should must not hold the suite. */
const bounded = { timeout: 60_000 };

let member: Member | undefined;
let folder: Awaited<ReturnType<typeof temporaryFolder>>;

const launch = async (...flags: readonly string[]): Promise<Member> => {
  const [clientPort = 0, peerPort = 0] = await freePorts(2);
  const dataDir = join(folder.path, "a folder");
  return (member = Member.launch({ command, cwd: packageRoot, dataDir, clientPort, peerPort, flags }));
};

beforeEach(async () => {
  folder = await temporaryFolder();
});

afterEach(async () => {
  await member?.kill();
  await folder.remove();
});

test("it serves, with the flags that it is given, and Ctrl-C ends it; nothing is lost", bounded, async () => {
  const first = await launch();
  await first.ready();
  await callAt(first.port, "KV/Put", { key: base64("kept"), value: base64("value") });
  first.signal("SIGINT");
  assert.deepEqual(await first.exited, { code: null, signal: "SIGINT" });

  const second = await launch();
  await second.ready();
  const { kvs } = await callAt(second.port, "KV/Range", { key: base64("kept") });
  assert.deepEqual(
    (kvs as JsonObject[]).map(({ value }) => value),
    [base64("value")],
  );
});

test("a flag that there is not ends it with etcd's exit status", bounded, async () => {
  const { exited } = await launch("--nope");
  assert.deepEqual(await exited, { code: 2, signal: null });
});
