/** The codecs by examples; test/fuzz/ holds them against Go's parser. */
import assert from "node:assert/strict";
import { test } from "node:test";
import {
  decodeConfState,
  decodeHardState,
  decodeInternalRaftRequest,
  decodePutRequest,
  decodeRangeRequest,
  decodeResponseHeader,
  decodeTxnRequest,
  encodeConfChange,
  encodeConfState,
  encodeHardState,
  encodeInternalRaftRequest,
  encodePutRequest,
  encodeResponseHeader,
  encodeTxnRequest,
  encodeWatchCreateRequest,
  methods,
  newPutRequest,
  ProtoError,
  PutRequestDescriptor,
  sizePutRequest,
  validate,
  writePutRequest,
} from "./index.js";

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");
const fromHex = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, "hex"));

test("proto3: zeros are left out, absent fields are zero", () => {
  assert.equal(encodePutRequest({ key: Buffer.from("k"), lease: 0n, prevKv: false }).length, 3);
  assert.deepEqual(decodePutRequest(new Uint8Array(0)), newPutRequest());
});

test("proto2: undefined is not written, zero is", () => {
  assert.equal(hex(encodeHardState({ term: 1, vote: 0n, commit: 1 })), "080110001801");
  assert.equal(hex(encodeConfChange({ type: 0, nodeId: 5n })), "10001805");
  assert.deepEqual(decodeHardState(fromHex("0801")), { term: 1, vote: undefined, commit: undefined });
});

test("numbers saturate, IDs do not", () => {
  const header = decodeResponseHeader(encodeResponseHeader({ clusterId: 2n ** 64n - 1n, revision: 2 ** 53 - 1 }));
  assert.deepEqual([header.clusterId, header.revision], [2n ** 64n - 1n, 2 ** 53 - 1]);
  assert.equal(decodeRangeRequest(fromHex("18ffffffffffffffff7f")).limit, Number.MAX_SAFE_INTEGER);
  assert.equal(decodeRangeRequest(fromHex("1880808080808080808001")).limit, -Number.MAX_SAFE_INTEGER);
  assert.equal(decodeRangeRequest(fromHex("18ffffffffffffffffff01")).limit, -1);
  assert.equal(decodePutRequest(encodePutRequest({ lease: -(2n ** 63n) })).lease, -(2n ** 63n));
});

test("repeated numbers: packed in proto3, not in proto2, both read", () => {
  assert.equal(hex(encodeConfState({ voters: [1n, 300n], autoLeave: false })), "080108ac022800");
  assert.deepEqual(decodeConfState(fromHex("0a0301ac020802")).voters, [1n, 300n, 2n]);
  assert.equal(hex(encodeWatchCreateRequest({ filters: [0, 1] })), "2a020001");
});

test("the last value wins, sub-messages merge, a oneof holds its last case", () => {
  assert.equal(Buffer.from(decodePutRequest(fromHex("0a01610a0162")).key).toString(), "b");
  const first = encodeInternalRaftRequest({ header: { ID: 7n }, put: { key: Buffer.from("k") } });
  const second = encodeInternalRaftRequest({ header: { username: "u" }, put: { value: Buffer.from("v") } });
  const merged = decodeInternalRaftRequest(new Uint8Array(Buffer.concat([first, second])));
  assert.deepEqual([merged.header?.ID, merged.header?.username], [7n, "u"]);
  assert.deepEqual(
    [merged.put?.key, merged.put?.value].map((bytes) => Buffer.from(bytes!).toString()),
    ["k", "v"],
  );
  const txn = decodeTxnRequest(fromHex("120a" + "12030a016b" + "0a030a0172"));
  assert.equal(txn.success[0]?.request?.case, "requestRange");
});

test("writes into a buffer at an offset, and reads from within one", () => {
  const message = { key: Buffer.from("key"), value: Buffer.alloc(300, 1), lease: 77n };
  const size = sizePutRequest(message);
  const bytes = new Uint8Array(size + 20);
  assert.equal(writePutRequest(message, bytes, 10), 10 + size);
  const read = decodePutRequest(bytes, 10, 10 + size);
  assert.deepEqual([read.lease, read.value.length, Buffer.from(read.key).toString()], [77n, 300, "key"]);
  assert.equal(read.value.buffer, bytes.buffer, "bytes fields are views");
});

test("entries have the bytes that etcd writes", () => {
  const put = encodeInternalRaftRequest({
    header: { ID: 0x1234n },
    put: { key: Buffer.from("foo"), value: Buffer.from("bar") },
  });
  assert.equal(hex(put), "220a0a03666f6f1203626172a2060308b424");
  const version = encodeInternalRaftRequest({ header: { ID: 1n }, clusterVersionSet: { ver: "3.7.0" } });
  assert.equal(hex(version), "a206020801a251070a05332e372e30");
});

test("malformed bytes are refused", () => {
  for (const bytes of ["0a", "0a0261", "0c", "00", "0e", "18", "18ffffffffffffffffff02", "13"]) {
    assert.throws(() => decodePutRequest(fromHex(bytes)), ProtoError, bytes);
    assert.equal(validate(PutRequestDescriptor, fromHex(bytes)), "proto: cannot parse invalid wire-format data");
  }
  assert.equal(validate(PutRequestDescriptor, fromHex("0a01ff")), undefined, "bytes need not be UTF-8");
});

test("txns are written as Go writes them: a oneof's field last", () => {
  const compare = {
    key: Buffer.from("k"),
    targetUnion: { case: "version", value: 0 },
    rangeEnd: Buffer.from("l"),
  } as const;
  assert.equal(hex(encodeTxnRequest({ compare: [compare] })), "0a091a016b8204016c2000");
});

test("the method table has every RPC once", () => {
  assert.equal(new Set(methods.map(({ path }) => path)).size, methods.length);
  const watch = methods.find(({ path }) => path === "/etcdserverpb.Watch/Watch");
  assert.deepEqual([watch?.clientStreams, watch?.serverStreams], [true, true]);
  assert.equal(methods.filter(({ service }) => service.startsWith("etcdserverpb.")).length, 6 + 1 + 5 + 5 + 8 + 17);
});
