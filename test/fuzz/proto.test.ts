/**
 * Our protobuf code against Go's parser: what it accepts, with which text it refuses, and what it reads. An entry that
 * a Go member cannot read would end that member, so agreement is a matter of safety.
 */
import assert from "node:assert/strict";
import { after, test } from "node:test";
import * as proto from "../../src/proto/index.js";
import { chooseSeed, Prng } from "../support/index.js";
import { Oracle } from "./oracle.js";
import { damaged, nestedGroups, nestedMessages, someMessage } from "./proto-cases.js";

const oracle = await Oracle.start();
after(() => oracle?.stop());
const needsGo = { skip: oracle ? false : "Go is not installed" };
const rounds = Number(process.env["FUZZ_ROUNDS"] ?? 20_000);

interface Codec {
  readonly name: string;
  readonly descriptor: proto.MessageDescriptor;
  readonly decode: (bytes: Uint8Array) => unknown;
  readonly encode: (message: unknown) => Uint8Array;
}

/** Packages that the judge links. */
const packages = /^(etcdserverpb|mvccpb|authpb|membershippb|raftpb)\./;
const exported = proto as unknown as Record<string, unknown>;
const codecs: readonly Codec[] = Object.keys(exported)
  .filter((key) => key.startsWith("decode"))
  .map((key) => {
    const name = key.slice("decode".length);
    const descriptor = exported[`${name}Descriptor`] as proto.MessageDescriptor;
    const decode = exported[key] as Codec["decode"];
    return { name: descriptor.name, descriptor, decode, encode: exported[`encode${name}`] as Codec["encode"] };
  })
  .filter(({ name }) => packages.test(name));
/** Deep and branching messages come up more often than flat ones. */
const favourites = codecs.filter(({ name }) => /Txn|Internal|raftpb.Message|RangeRequest|PutRequest|Watch/.test(name));

async function judge(codec: Codec, bytes: Buffer, label: string): Promise<boolean> {
  const verdict = await oracle!.ask("p", codec.name, bytes);
  const text = proto.validate(codec.descriptor, bytes);
  const shown = `${label}: ${codec.name} ${bytes.toString("hex").slice(0, 400)}`;
  if (!verdict.accepted) {
    assert.equal(text, verdict.text, shown);
    assert.throws(() => codec.decode(bytes), proto.ProtoError, shown);
    return false;
  }
  assert.equal(text, undefined, shown);
  const message = codec.decode(new Uint8Array(bytes));
  const written = codec.encode(message);
  // Saturated numbers are written as what they were saturated to; then what Go has written must read the same.
  if (!verdict.bytes.equals(written)) assert.deepEqual(codec.decode(new Uint8Array(verdict.bytes)), message, shown);
  assert.deepEqual(codec.decode(written), message, shown);
  return true;
}

test("random messages are accepted, refused and read as by Go", needsGo, async (t) => {
  assert.ok(codecs.length > 100, `${codecs.length} messages`);
  const seed = chooseSeed();
  t.diagnostic(`SEED=${seed}`);
  const prng = new Prng(seed);
  let accepted = 0;
  for (let round = 0; round < rounds; round += 100) {
    const asked = Array.from({ length: 100 }, (_, i) => {
      const codec = prng.oneIn(2) ? prng.pick(favourites) : prng.pick(codecs);
      const sound = someMessage(prng, codec.descriptor);
      const bytes = prng.oneIn(3) ? damaged(prng, sound) : sound;
      return judge(codec, bytes, `SEED=${seed} round ${round + i}`);
    });
    for (const one of await Promise.all(asked)) if (one) accepted++;
  }
  assert.ok(accepted > rounds / 4 && accepted < rounds, `${accepted} of ${rounds} accepted`);
});

test("the limits of depth are Go's", needsGo, async () => {
  const txn = codecs.find(({ name }) => name === "etcdserverpb.TxnRequest")!;
  const put = codecs.find(({ name }) => name === "etcdserverpb.PutRequest")!;
  for (const levels of [9_998, 9_999, 10_000, 10_001]) {
    const verdict = await oracle!.ask("p", txn.name, nestedMessages(levels, [4, 2]));
    const ours = proto.validate(txn.descriptor, nestedMessages(levels, [4, 2]));
    assert.equal(ours, verdict.accepted ? undefined : verdict.text, `${levels} messages`);
    const groups = nestedGroups(levels, 99);
    const groupVerdict = await oracle!.ask("p", put.name, groups);
    assert.equal(proto.validate(put.descriptor, groups), groupVerdict.accepted ? undefined : groupVerdict.text);
  }
  for (const levels of [10_002, 20_000]) {
    const verdict = await oracle!.ask("p", put.name, nestedGroups(levels, 99));
    assert.equal(verdict.accepted, false);
    assert.equal(proto.validate(put.descriptor, nestedGroups(levels, 99)), verdict.accepted ? undefined : verdict.text);
  }
});

test("scans of the hot path read what the decoders read", async (t) => {
  const seed = chooseSeed();
  t.diagnostic(`SEED=${seed}`);
  const prng = new Prng(seed);
  const [put, range, deleteRange] = [new proto.PutScan(), new proto.RangeScan(), new proto.DeleteRangeScan()];
  const part = (bytes: Uint8Array, start: number, end: number): string =>
    Buffer.from(bytes).toString("hex", start, end);
  for (let round = 0; round < rounds; round++) {
    const sound = someMessage(prng, [proto.PutRequestDescriptor, proto.RangeRequestDescriptor][round % 2]!);
    const message = prng.oneIn(3) ? damaged(prng, sound) : sound;
    const bytes = Buffer.concat([Buffer.alloc(2), message, Buffer.alloc(2)]);
    const [start, end] = [2, 2 + message.length];
    const shown = `SEED=${seed} round ${round}: ${message.toString("hex")}`;
    assert.equal(put.scan(bytes, start, end), !proto.validate(proto.PutRequestDescriptor, bytes, start, end), shown);
    if (put.scan(bytes, start, end)) {
      const wanted = proto.decodePutRequest(bytes, start, end);
      assert.equal(part(bytes, put.keyStart, put.keyEnd), hex(wanted.key), shown);
      assert.equal(part(bytes, put.valueStart, put.valueEnd), hex(wanted.value), shown);
      const { lease, prevKv, ignoreValue, ignoreLease } = put;
      assert.deepEqual({ lease, prevKv, ignoreValue, ignoreLease }, rest(wanted, ["key", "value"]), shown);
    }
    assert.equal(
      range.scan(bytes, start, end),
      !proto.validate(proto.RangeRequestDescriptor, bytes, start, end),
      shown,
    );
    if (range.scan(bytes, start, end)) {
      const wanted = proto.decodeRangeRequest(bytes, start, end);
      assert.equal(part(bytes, range.keyStart, range.keyEnd), hex(wanted.key), shown);
      assert.equal(part(bytes, range.rangeEndStart, range.rangeEndEnd), hex(wanted.rangeEnd), shown);
      for (const [name, value] of Object.entries(rest(wanted, ["key", "rangeEnd"]))) {
        assert.equal(range[name as "limit"], value, `${shown} ${name}`);
      }
    }
    const isDelete = deleteRange.scan(bytes, start, end);
    assert.equal(isDelete, !proto.validate(proto.DeleteRangeRequestDescriptor, bytes, start, end), shown);
    if (isDelete) {
      const wanted = proto.decodeDeleteRangeRequest(bytes, start, end);
      assert.equal(part(bytes, deleteRange.keyStart, deleteRange.keyEnd), hex(wanted.key), shown);
      assert.equal(part(bytes, deleteRange.rangeEndStart, deleteRange.rangeEndEnd), hex(wanted.rangeEnd), shown);
      assert.equal(deleteRange.prevKv, wanted.prevKv, shown);
    }
  }
});

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("hex");
}

function rest(message: object, without: readonly string[]): Record<string, unknown> {
  return Object.fromEntries(Object.entries(message).filter(([name]) => !without.includes(name)));
}
