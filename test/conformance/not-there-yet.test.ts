/**
 * What is not there yet says so: Unimplemented, at once, and nothing is changed by it. All that the .proto files describe
 * is either served or on that list.
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { methods } from "../../src/proto/index.js";
import { freePorts, GrpcClient, HttpClient, Member, ourCommand, temporaryFolder } from "../support/index.js";
import { notThereYet, notThereYetPaths } from "./not-there-yet.js";

const command = ourCommand();
const unimplemented = 12;
const internal = 13;
/** No message of any type: a field of 5 bytes that has none. */
const cutShort = Buffer.of(0x0a, 5);

let member: Member | null = null;
let cleanUp = async (): Promise<void> => {};

before(async () => {
  const folder = await temporaryFolder();
  const [clientPort = 0, peerPort = 0] = await freePorts(2);
  cleanUp = folder.remove;
  member = await Member.start({ command, dataDir: join(folder.path, "data"), clientPort, peerPort });
});

after(async () => {
  await member?.kill();
  await cleanUp();
});

for (const [service, names] of Object.entries(notThereYet)) {
  test(`${service}: ${names.length} RPCs answer Unimplemented`, async () => {
    const client = new GrpcClient(member?.port ?? 0);
    for (const method of names) {
      const reply = await client.unary(`/${service}/${method}`, Buffer.alloc(0));
      assert.equal(reply.status, unimplemented, `${service}/${method}: ${reply.status} ${reply.message}`);
      assert.equal(reply.messages.length, 0, `${service}/${method} sent a message`);
    }
    client.close();
  });
}

test("every other RPC of the .proto files is served: it reads what it is sent", async () => {
  const listed = Object.entries(notThereYet).flatMap(([service, names]) => names.map((name) => `/${service}/${name}`));
  const all = new Set(methods.map(({ path }) => path));
  assert.deepEqual(
    listed.filter((path) => !all.has(path)),
    [],
    "listed, and in no .proto file",
  );
  const client = new GrpcClient(member?.port ?? 0);
  for (const { path, clientStreams, serverStreams } of methods) {
    if (listed.includes(path)) continue;
    const reply = await client.unary(path, cutShort);
    const refusal =
      clientStreams || serverStreams ? "failed to unmarshal the received message" : "error unmarshalling request";
    assert.equal(reply.status, internal, `${path}: ${reply.status} ${reply.message}`);
    assert.ok(reply.message.startsWith(`grpc: ${refusal}: proto:`), `${path}: ${reply.message}`);
  }
  client.close();
});

test("their gateway paths answer 501 with code 12", async () => {
  const client = new HttpClient(member?.port ?? 0);
  for (const path of notThereYetPaths) {
    const reply = await client.send({ method: "POST", path, body: Buffer.from("{}") });
    assert.equal(reply.status, 501, `${path}: ${reply.status} ${reply.body.toString()}`);
    assert.equal((JSON.parse(reply.body.toString()) as { code: number }).code, unimplemented, path);
  }
  client.close();
});
