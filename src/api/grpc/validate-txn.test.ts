import assert from "node:assert/strict";
import { test } from "node:test";
import {
  decodeTxnRequest,
  encodeTxnRequest,
  type RequestOpInit,
  type TxnRequestInit,
  type TxnRequest,
} from "../../proto/index.js";
import { checkTxn, isTxnReadonly, isTxnSerializable } from "./validate-txn.js";

const bytes = (text: string): Uint8Array => Buffer.from(text, "latin1");
const put = (key: string): RequestOpInit => ({ request: { case: "requestPut", value: { key: bytes(key) } } });
const get = (key: string, serializable = false): RequestOpInit => ({
  request: { case: "requestRange", value: { key: bytes(key), serializable } },
});
const del = (key: string, end = ""): RequestOpInit => ({
  request: { case: "requestDeleteRange", value: { key: bytes(key), rangeEnd: bytes(end) } },
});
const txn = (success: RequestOpInit[], failure: RequestOpInit[] = []): RequestOpInit => ({
  request: { case: "requestTxn", value: { success, failure } },
});
const made = (init: TxnRequestInit): TxnRequest => decodeTxnRequest(encodeTxnRequest(init));
const check = (success: RequestOpInit[], failure: RequestOpInit[] = [], opsMax = 128): string | undefined =>
  checkTxn(made({ success, failure }), opsMax)?.message;

const duplicate = "etcdserver: duplicate key given in txn request";
const tooMany = "etcdserver: too many operations in txn request";
const emptyKey = "etcdserver: key is not provided";

test("one path puts a key once", () => {
  assert.equal(check([put("a"), put("b")]), undefined);
  assert.equal(check([put("a"), put("a")]), duplicate);
  assert.equal(check([put("a")], [put("a")]), undefined);
  assert.equal(check([put("a"), txn([put("a")])]), duplicate);
  assert.equal(check([txn([put("a")], [put("a")])]), undefined);
  assert.equal(check([txn([put("a")]), txn([], [put("a")])]), duplicate);
});

test("a put keeps out of deleted ranges of its path", () => {
  assert.equal(check([del("a"), put("a")]), duplicate);
  assert.equal(check([put("b"), del("a", "c")]), duplicate);
  assert.equal(check([put("c"), del("a", "c")]), undefined);
  assert.equal(check([del("a", "c"), del("b", "d")]), undefined);
  assert.equal(check([put("b"), txn([], [del("a", "c")])]), duplicate);
  assert.equal(check([del("a", "c")], [put("b")]), undefined);
});

test("etcd's two holes are there", () => {
  assert.equal(check([txn([put("b")]), txn([del("a", "c")])]), undefined);
  assert.equal(check([txn([del("a", "c")]), txn([put("b")])]), duplicate);
  assert.equal(check([put("b"), del("a", "\0")]), undefined);
});

test("op counts shrink with depth, and come before the ops", () => {
  const many = Array.from({ length: 129 }, (_, i) => put(`k${i}`));
  assert.equal(check(many.slice(1)), undefined);
  assert.equal(check(many), tooMany);
  assert.equal(check([txn(many.slice(1))]), tooMany);
  assert.equal(check([txn(many.slice(2))]), undefined);
  assert.equal(check([put(""), txn(many)]), emptyKey);
  assert.equal(check([txn(many), put("")]), tooMany);
  assert.equal(checkTxn(made({ compare: [{}], success: many }), 128)?.message, tooMany);
  assert.equal(checkTxn(made({ compare: [{}], success: many }), 129)?.message, emptyKey);
});

test("each op is checked like a request of its own", () => {
  assert.equal(check([{}]), "etcdserver: key not found");
  assert.equal(check([get("")]), emptyKey);
  assert.equal(check([del("", "z")]), emptyKey);
  const bad = { key: bytes("a"), sortOrder: 3 };
  assert.equal(check([{ request: { case: "requestRange", value: bad } }]), "etcdserver: invalid sort option");
  const value = { key: bytes("a"), value: bytes("v"), ignoreValue: true };
  assert.equal(check([{ request: { case: "requestPut", value } }]), "etcdserver: value is provided");
  const lease = { key: bytes("a"), lease: -1n, ignoreLease: true };
  assert.equal(check([{ request: { case: "requestPut", value: lease } }]), "etcdserver: lease is provided");
});

test("read-only and serializable", () => {
  const of = (success: RequestOpInit[], failure: RequestOpInit[] = []): boolean[] => {
    const request = made({ success, failure });
    return [isTxnReadonly(request), isTxnSerializable(request)];
  };
  assert.deepEqual(of([]), [true, true]);
  assert.deepEqual(of([get("a")]), [true, false]);
  assert.deepEqual(of([get("a", true)], [get("b", true)]), [true, true]);
  assert.deepEqual(of([get("a", true)], [get("b")]), [true, false]);
  assert.deepEqual(of([txn([])]), [false, false]);
  assert.deepEqual(of([], [put("a")]), [false, false]);
});

/** The rules by the plainest loops, on op lists. */
function slow(ops: readonly RequestOpInit[]): { puts: string[]; dels: [string, string][] } | undefined {
  const text = (key: Uint8Array | undefined): string => Buffer.from(key ?? []).toString("latin1");
  const dels: [string, string][] = [];
  let puts: string[] = [];
  const isDeleted = (key: string): boolean => dels.some(([begin, end]) => begin <= key && key < end);
  for (const { request } of ops) {
    if (request?.case !== "requestDeleteRange") continue;
    const { key, rangeEnd } = request.value;
    dels.push([text(key), rangeEnd?.length ? text(rangeEnd) : `${text(key)}\0`]);
  }
  for (const { request } of ops) {
    if (request?.case !== "requestTxn") continue;
    const branches = [slow(request.value.success ?? []), slow(request.value.failure ?? [])];
    const inner: string[] = [];
    for (const branch of branches) {
      if (!branch) return undefined;
      for (const key of branch.puts) if (puts.includes(key) || isDeleted(key)) return undefined;
      inner.push(...branch.puts);
    }
    puts = [...puts, ...inner];
    for (const branch of branches) dels.push(...branch!.dels);
  }
  for (const { request } of ops) {
    if (request?.case !== "requestPut") continue;
    const key = text(request.value.key);
    if (puts.includes(key) || isDeleted(key)) return undefined;
    puts.push(key);
  }
  return { puts, dels };
}

test("agrees with plain loops on random txns", () => {
  let state = 12345;
  const below = (bound: number): number => {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    return (state >>> 8) % bound;
  };
  const key = (): string =>
    String.fromCharCode(97 + below(26)) + (below(3) === 0 ? String.fromCharCode(below(256)) : "");
  const ops = (depth: number): RequestOpInit[] => Array.from({ length: below(5) }, () => op(depth));
  const op = (depth: number): RequestOpInit => {
    const kind = below(depth > 0 ? 8 : 6);
    if (kind < 3) return put(key());
    if (kind < 6) return del(key(), ["", key(), "\0"][below(3)]);
    return txn(ops(depth - 1), ops(depth - 1));
  };
  let refused = 0;
  for (let i = 0; i < 5000; i++) {
    const success = ops(3);
    const expected = slow(success) === undefined ? duplicate : undefined;
    if (expected) refused++;
    assert.equal(check(success), expected, `round ${i}`);
  }
  assert.ok(refused > 500 && refused < 4500, `${refused} refused`);
});

test("200,000 ops are checked without quadratic work, and as plain loops would", () => {
  const name = (i: number): string => String(i).padStart(6, "0");
  const wide = (from: number): RequestOpInit[] =>
    Array.from({ length: 400 }, (_, i) =>
      i % 2 ? put(name(from + 2 * i)) : del(name(from + 2 * i), name(from + 2 * i + 1)),
    );
  const success = Array.from({ length: 400 }, (_, i) => txn(wide(i * 800)));
  const started = process.cpuUsage();
  assert.equal(check(success, [], 1000), undefined);
  assert.equal(check([...success, put(name(804))], [], 1000), duplicate);
  assert.equal(check([txn([put(name(804))]), ...success], [], 1000), undefined);
  assert.equal(check([...success, txn([put(name(804))])], [], 1000), duplicate);
  assert.ok(process.cpuUsage(started).user < 20e6);
});

test("a put that keeps value or lease does not follow an open-ended deletion of its key, which ends a real etcd", () => {
  const keeping = (key: string, options: object): RequestOpInit => ({
    request: { case: "requestPut", value: { key: bytes(key), ...options } },
  });
  const open = del("b", "\0");
  for (const options of [{ ignoreValue: true }, { ignoreLease: true }]) {
    assert.equal(check([open, keeping("b", options)]), duplicate);
    assert.equal(check([], [open, keeping("c", options)]), duplicate);
    assert.equal(check([open, txn([], [keeping("c", options)])]), duplicate);
    assert.equal(check([txn([], [open]), txn([keeping("c", options)])]), duplicate);
    assert.equal(check([open, keeping("a", options)]), undefined, "below the deletion");
    assert.equal(check([keeping("c", options), open]), undefined, "before the deletion");
    assert.equal(check([open], [keeping("c", options)]), undefined, "on the other branch");
  }
  assert.equal(check([open, put("b")]), undefined);
});
