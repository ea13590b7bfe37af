/**
 * Requests that end a real etcd 3.7.1 in a panic. Ours refuses them, goes on, and does nothing by
 * halves; there is nothing to compare with.
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import { after, before, test } from "node:test";
import {
  base64,
  decodeMessage,
  encodeMessage,
  freePorts,
  GrpcClient,
  Member,
  ourCommand,
  temporaryFolder,
  type JsonObject,
} from "../support/index.js";

const command = ourCommand();

let member: Member | null = null;
let client = new GrpcClient(0);
let removeFolder = async (): Promise<void> => {};

before(async () => {
  const folder = await temporaryFolder();
  removeFolder = folder.remove;
  const [clientPort = 0, peerPort = 0] = await freePorts(2);
  member = await Member.start({ command, dataDir: join(folder.path, "data"), clientPort, peerPort });
  client = new GrpcClient(clientPort);
});

after(async () => {
  client.close();
  await member?.kill();
  await removeFolder();
});

const call = async (
  method: string,
  request: JsonObject,
): Promise<{ status: number; message: string; body: JsonObject }> => {
  const name = method.slice(method.indexOf("/") + 1);
  const reply = await client.unary(`/etcdserverpb.${method}`, encodeMessage(`etcdserverpb.${name}Request`, request));
  const [first] = reply.messages;
  const body = first === undefined ? {} : decodeMessage(`etcdserverpb.${name}Response`, first).plain;
  return { status: reply.status, message: reply.message, body };
};

const store = async (): Promise<JsonObject> => {
  const { body, status } = await call("KV/Range", { key: base64("\0"), range_end: base64("\0") });
  assert.equal(status, 0, "still serves");
  return body;
};

const hash = async (): Promise<unknown> => (await call("Maintenance/HashKV", {})).body["hash"];

const expectRefused = async (method: string, request: JsonObject): Promise<void> => {
  const before = [await store(), await hash()];
  const { status } = await call(method, request);
  assert.notEqual(status, 0, `${method} was not refused`);
  assert.deepEqual([await store(), await hash()], before, "nothing was done");
};

test("an Alarm request with an unknown action", async () => {
  await call("KV/Put", { key: base64("k"), value: base64("v") });
  for (const action of [3, 99, -1]) await expectRefused("Maintenance/Alarm", { action });
  await expectRefused("Maintenance/Alarm", { action: 3, memberID: "1", alarm: 1 });
});

for (const option of ["ignore_value", "ignore_lease"]) {
  test(`a txn that deletes a key with an open end and then puts it with ${option}`, async () => {
    await call("KV/Put", { key: base64("k"), value: base64("v") });
    const remove = { request_delete_range: { key: base64("\0"), range_end: base64("\0") } };
    const keep = { request_put: { key: base64("k"), [option]: true } };
    await expectRefused("KV/Txn", { success: [remove, keep] });
    await expectRefused("KV/Txn", { success: [remove, { request_txn: { success: [keep] } }] });
  });
}
