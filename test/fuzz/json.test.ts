/** The JSON gateway's two directions against Go's encoding/json and protojson: every byte and every error text. */
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { decodeJson, encodeJson } from "../../src/api/http/index.js";
import { methods, type MessageDescriptor } from "../../src/proto/index.js";
import { chooseSeed, Prng } from "../support/index.js";
import { brokenJson, someJson } from "./json-cases.js";
import { Oracle, plainSpaces } from "./oracle.js";
import { someMessage } from "./proto-cases.js";

const oracle = await Oracle.start();
after(() => oracle?.stop());
const needsGo = { skip: oracle ? false : "Go is not installed" };
const rounds = Number(process.env["FUZZ_ROUNDS"] ?? 20_000);

const served = methods.filter(({ service }) => service.startsWith("etcdserverpb."));
const requests = served.map(({ request }) => request);
const responses = served.map(({ response }) => response);

function ours(descriptor: MessageDescriptor, body: Buffer): string {
  try {
    return Buffer.from(decodeJson(descriptor, body)).toString("hex");
  } catch (error) {
    assert.ok(error instanceof Error && /^(JsonSyntaxError|ProtoJsonError)$/.test(error.name), String(error));
    return error.message;
  }
}

test("bodies become the same messages and the same errors", needsGo, async (t) => {
  const seed = chooseSeed();
  t.diagnostic(`SEED=${seed}`);
  const prng = new Prng(seed);
  let accepted = 0;
  for (let round = 0; round < rounds; round += 100) {
    const asked = Array.from({ length: 100 }, async (_, i) => {
      const descriptor = prng.pick(requests);
      const text = someJson(prng, descriptor);
      const body = prng.oneIn(3) ? brokenJson(prng, text) : Buffer.from(text);
      const verdict = await oracle!.ask("j", descriptor.name, body);
      const wanted = verdict.accepted ? verdict.bytes.toString("hex") : verdict.text;
      const shown = `SEED=${seed} round ${round + i}: ${descriptor.name} ${JSON.stringify(body.toString("latin1"))}`;
      assert.equal(ours(descriptor, body), wanted, shown);
      if (verdict.accepted) accepted++;
    });
    await Promise.all(asked);
  }
  assert.ok(accepted > rounds / 4 && accepted < rounds, `${accepted} of ${rounds} accepted`);
});

test("replies become the same JSON", needsGo, async (t) => {
  const seed = chooseSeed();
  t.diagnostic(`SEED=${seed}`);
  const prng = new Prng(seed);
  for (let round = 0; round < rounds; round += 100) {
    const asked = Array.from({ length: 100 }, async (_, i) => {
      const descriptor = prng.pick(responses);
      // As our server writes it: what Go writes for any message that it can read.
      const message = await oracle!.ask("p", descriptor.name, someMessage(prng, descriptor));
      if (!message.accepted) return;
      const verdict = await oracle!.ask("e", descriptor.name, message.bytes);
      if (!verdict.accepted) return;
      const wanted = plainSpaces(verdict.bytes.toString());
      const separator = wanted.includes('", "') || !wanted.includes('","') ? ", " : ",";
      const json = plainSpaces(Buffer.from(encodeJson(descriptor, message.bytes, separator)).toString());
      const shown = `SEED=${seed} round ${round + i}: ${descriptor.name} ${message.bytes.toString("hex").slice(0, 400)}`;
      assert.deepEqual(JSON.parse(json), JSON.parse(wanted), shown);
      assert.equal(compact(json), compact(wanted), shown);
    });
    await Promise.all(asked);
  }
});

/** Go's space after a comma comes and goes with the build. */
function compact(json: string): string {
  return json.replace(/, (?=["{[\d\]tf-])/g, ",");
}
