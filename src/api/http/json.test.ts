/** Examples of the JSON mapping; test/fuzz/ holds it against Go's. */
import assert from "node:assert/strict";
import { test } from "node:test";
import {
  CompareDescriptor,
  decodeCompare,
  decodeRangeRequest,
  decodeTxnRequest,
  decodeWatchCreateRequest,
  encodeRangeResponse,
  encodeStatusResponse,
  encodeTxnResponse,
  type MessageDescriptor,
  RangeRequestDescriptor,
  RangeResponseDescriptor,
  StatusResponseDescriptor,
  TxnRequestDescriptor,
  TxnResponseDescriptor,
  WatchCreateRequestDescriptor,
} from "../../proto/index.js";
import { quoteByte, quoteBytes } from "./go-text.js";
import { decodeJson } from "./json-decode.js";
import { encodeJson } from "./json-encode.js";
import { integerOf, integerOfString } from "./json-values.js";

const decode = (descriptor: MessageDescriptor, json: string): Uint8Array => decodeJson(descriptor, Buffer.from(json));
const failure = (json: string): string => {
  try {
    decode(RangeRequestDescriptor, json);
    return "";
  } catch (error) {
    return (error as Error).message;
  }
};

test("requests: both names, numbers as text, both base64, enums by name or number, null, unknown fields", () => {
  const json = `{"key":"_-8","range_end":"+/8=","limit":"7","revision":1e2,"sortOrder":"DESCEND","sort_target":4,
    "serializable":true,"keysOnly":null,"nope":[{"x":"\\u00e9"}]}`;
  const { key, rangeEnd, limit, revision, sortOrder, sortTarget, serializable } = decodeRangeRequest(
    decode(RangeRequestDescriptor, json),
  );
  assert.deepEqual([...key], [255, 239]);
  assert.deepEqual([...rangeEnd], [251, 255]);
  assert.deepEqual([limit, revision, sortOrder, sortTarget, serializable], [7, 100, 2, 4, true]);
  assert.equal(decode(RangeRequestDescriptor, "").length, 0);
  assert.equal(decode(RangeRequestDescriptor, '{"key":"","limit":0}').length, 0);
});

test("requests: a oneof keeps its zero, lists are packed", () => {
  const compare = decodeCompare(decode(CompareDescriptor, '{"version":"0"}'));
  assert.deepEqual(compare.targetUnion, { case: "version", value: 0 });
  const filters = decode(WatchCreateRequestDescriptor, '{"filters":["NOPUT",1,"BOGUS"]}');
  assert.deepEqual(decodeWatchCreateRequest(filters).filters, [0, 1]);
  assert.equal(Buffer.from(filters).toString("hex"), "2a020001");
});

test("requests: errors have Go's texts and places", () => {
  assert.equal(failure('{"key":'), "unexpected EOF");
  assert.equal(failure("{'key'"), "invalid character '\\'' looking for beginning of object key string");
  assert.equal(failure('{"key":5}'), "proto: (line 1:8): invalid value for bytes field key: 5");
  assert.equal(
    failure('{"é":1,\n "range_end":true}'),
    "proto: (line 2:14): invalid value for bytes field rangeEnd: true",
  );
  assert.equal(failure('{"key":"","key":""}'), 'proto: (line 1:11): duplicate field "key"');
  assert.equal(failure("7"), "proto: syntax error (line 1:1): unexpected token 7");
});

test("requests: nested messages", () => {
  const levels = 300;
  const json = '{"success":[{"requestTxn":'.repeat(levels) + "{}" + "}]}".repeat(levels);
  let txn = decodeTxnRequest(decode(TxnRequestDescriptor, json));
  let depth = 0;
  for (; txn.success[0]?.request?.case === "requestTxn"; depth++) txn = txn.success[0].request.value;
  assert.equal(depth, levels);
});

test("integers", () => {
  assert.equal(integerOf("-9223372036854775808", "int64"), -(2n ** 63n));
  assert.equal(integerOf("9223372036854775808", "int64"), undefined);
  assert.equal(integerOf("1.50e1", "int64"), 15n);
  assert.equal(integerOf("1.5", "int64"), undefined);
  assert.equal(integerOf("-0", "uint64"), 0n);
  assert.equal(integerOfString(" 1", "int64"), undefined);
  assert.equal(integerOfString("1,2", "int64"), 1n);
});

test("replies: declared names, no zeros, empty sub-messages, one space after commas", () => {
  const kvs = [{ key: Buffer.from("a"), modRevision: 2 }, { value: Buffer.from([255]) }];
  const range = encodeRangeResponse({ header: { clusterId: 2n ** 63n, revision: 2 }, kvs, count: 2 });
  assert.equal(
    Buffer.from(encodeJson(RangeResponseDescriptor, range)).toString(),
    '{"header":{"cluster_id":"9223372036854775808", "revision":"2"}, "kvs":[{"key":"YQ==", "mod_revision":"2"}, ' +
      '{"value":"/w=="}], "count":"2"}',
  );
  const status = encodeStatusResponse({ downgradeInfo: {}, errors: ['a"\n<é', ""] });
  assert.equal(
    Buffer.from(encodeJson(StatusResponseDescriptor, status)).toString(),
    '{"errors":["a\\"\\n<é", ""], "downgradeInfo":{}}',
  );
  const txn = encodeTxnResponse({ responses: [{}, { response: { case: "responseTxn", value: { header: {} } } }] });
  assert.equal(
    Buffer.from(encodeJson(TxnResponseDescriptor, txn, ",")).toString(),
    '{"responses":[{},{"response_txn":{"header":{}}}]}',
  );
});

test("replies: more text than one piece", () => {
  const kvs = Array.from({ length: 50 }, (_, i) => ({ key: Buffer.from([i]), value: Buffer.alloc(200_000, i) }));
  const json = Buffer.from(encodeJson(RangeResponseDescriptor, encodeRangeResponse({ kvs }))).toString();
  const parsed = JSON.parse(json) as { kvs: { value: string }[] };
  assert.equal(parsed.kvs.length, 50);
  assert.ok(Buffer.from(parsed.kvs[49]!.value, "base64").equals(Buffer.alloc(200_000, 49)));
});

test("Go's quoting", () => {
  assert.deepEqual([0x27, 0x22, 0x5c, 0, 10, 0x7f, 0x80, 0xa0, 0xe9].map(quoteByte), [
    "'\\''",
    "'\"'",
    "'\\\\'",
    "'\\x00'",
    "'\\n'",
    "'\\x7f'",
    "'\\u0080'",
    "'\\u00a0'",
    "'é'",
  ]);
  assert.equal(quoteBytes(Buffer.from('a"\u200b\u{e0001}\n')), '"a\\"\\u200b\\U000e0001\\n"');
  assert.equal(quoteBytes(Buffer.from([0xff, 0xc3])), '"\\xff\\xc3"');
});
