import assert from "node:assert/strict";
import { test } from "node:test";
import { EtcdError, GrpcCode } from "../../errors/index.js";
import {
  EventType,
  newDeleteRangeResponse,
  newEvent,
  newKeyValue,
  newLeaseGrantResponse,
  newRangeResponse,
  newResponseHeader,
  newTxnResponse,
  newWatchResponse,
  type Event,
  type KeyValue,
  type RangeResponse,
  type ResponseHeader,
  type TxnRequestInit,
  type TxnResponse,
  type WatchCreateRequestInit,
  type WatchResponse,
} from "../../proto/index.js";
import type { ConcurrencyClient } from "./client.js";
import { campaign, observe } from "./election.js";
import { lock } from "./lock.js";
import { acquire, contenderOf, prefixEnd, readBytesMax, youngestUntil } from "./requests.js";

const bytes = (text: string): Uint8Array => Buffer.from(text);
const text = (value: Uint8Array | undefined): string => Buffer.from(value ?? []).toString();
const header = (revision: number): ResponseHeader => ({ ...newResponseHeader(), revision });
const kv = (key: string, createRevision: number, value = ""): KeyValue => ({
  ...newKeyValue(),
  key: bytes(key),
  createRevision,
  modRevision: createRevision,
  value: bytes(value),
});
const ranged = (revision: number, ...kvs: KeyValue[]): RangeResponse => ({
  ...newRangeResponse(),
  header: header(revision),
  kvs,
});
const watched = (revision: number, ...events: Event[]): WatchResponse => ({
  ...newWatchResponse(),
  header: header(revision),
  events,
});
const deleted = (key: string): Event => ({ ...newEvent(), type: EventType.DELETE, kv: kv(key, 0) });
const put = (key: string, revision: number, value: string): Event => ({ ...newEvent(), kv: kv(key, revision, value) });

/** Made, or found with what its range and the owner's range say. */
const txn = (revision: number, succeeded: boolean, ...ranges: RangeResponse[]): TxnResponse => ({
  ...newTxnResponse(),
  header: header(revision),
  succeeded,
  responses: ranges.map((value) => ({ response: { case: "responseRange", value } })),
});

/** A member that answers as told, and tells what it was asked. */
class FakeMember implements ConcurrencyClient {
  isGone = false;
  readonly asked: string[] = [];
  readonly txns: TxnRequestInit[] = [];
  readonly #script: { txn?: TxnResponse[]; range?: RangeResponse[]; watch?: (WatchResponse | "gone" | Error)[][] };

  constructor(script: { txn?: TxnResponse[]; range?: RangeResponse[]; watch?: (WatchResponse | "gone" | Error)[][] }) {
    this.#script = script;
  }

  range(): Promise<RangeResponse> {
    this.asked.push("range");
    return Promise.resolve(this.#script.range!.shift()!);
  }

  txn(request: TxnRequestInit): Promise<TxnResponse> {
    this.asked.push("txn");
    this.txns.push(request);
    return Promise.resolve(this.#script.txn!.shift()!);
  }

  deleteRange(request: { key?: Uint8Array }): Promise<ReturnType<typeof newDeleteRangeResponse>> {
    this.asked.push(`delete ${text(request.key)}`);
    return Promise.resolve(newDeleteRangeResponse());
  }

  grantLease(): Promise<ReturnType<typeof newLeaseGrantResponse>> {
    this.asked.push("grant");
    return Promise.resolve({ ...newLeaseGrantResponse(), ID: 0x1fn });
  }

  async *watch({ key, startRevision }: WatchCreateRequestInit): AsyncGenerator<WatchResponse> {
    this.asked.push(`watch ${text(key)} ${startRevision}`);
    for (const response of this.#script.watch!.shift()!) {
      if (response instanceof Error) throw response;
      if (response === "gone") {
        this.isGone = true;
        throw new EtcdError(GrpcCode.Canceled, "context canceled");
      }
      yield response;
    }
    await Promise.resolve();
  }
}

test("a contender's key is the name, a slash and the lease in hex, with Go's sign", () => {
  assert.equal(text(contenderOf(bytes("a"), 0x7f3n).key), "a/7f3");
  assert.equal(text(contenderOf(bytes(""), -5n).key), "/-5");
  assert.equal(text(prefixEnd(bytes("a/"))), "a0");
});

test("only keys of the prefix that are older are waited for, the youngest of them first", () => {
  const { key, rangeEnd, limit, maxCreateRevision } = youngestUntil(bytes("a/"), 8);
  assert.deepEqual([text(key), text(rangeEnd), limit, maxCreateRevision], ["a/", "a0", 1, 8]);
});

test("acquiring makes the key only where there is none", () => {
  const { compare, success, failure } = acquire(contenderOf(bytes("a"), 7n));
  assert.deepEqual(compare![0]!.targetUnion, { case: "createRevision", value: 0 });
  assert.deepEqual(
    [success, failure].map((ops) => ops!.map((op) => op.request!.case)),
    [
      ["requestPut", "requestRange"],
      ["requestRange", "requestRange"],
    ],
  );
});

test("a lock that nobody holds is there with one transaction, in a lease of its own", async () => {
  const member = new FakeMember({ txn: [txn(5, true, ranged(5), ranged(5, kv("a/1f", 5)))] });
  const { key, header: answer } = await lock(member, { name: bytes("a"), lease: 0n });
  assert.equal(text(key), "a/1f");
  assert.equal(answer?.revision, 5);
  assert.deepEqual(member.asked, ["grant", "txn"]);
});

test("one who waits watches the key before its own from the revision it was read at", async () => {
  const member = new FakeMember({
    txn: [txn(9, true, ranged(9), ranged(9, kv("a/1", 3)))],
    range: [ranged(9, kv("a/2", 4)), ranged(12, kv("a/1", 3)), ranged(15), ranged(16, kv("a/7", 9))],
    watch: [[watched(9), watched(10, put("a/2", 10, "x")), watched(11, deleted("a/2"))], [watched(13, deleted("a/1"))]],
  });
  const { header: answer } = await lock(member, { name: bytes("a"), lease: 7n });
  assert.equal(answer?.revision, 16);
  assert.deepEqual(member.asked, ["txn", "range", "watch a/2 9", "range", "watch a/1 12", "range", "range"]);
});

test("a lock whose key has gone meanwhile is not held, and nothing is deleted", async () => {
  const member = new FakeMember({
    txn: [txn(9, true, ranged(9), ranged(9, kv("a/1", 3)))],
    range: [ranged(9), ranged(9)],
  });
  await assert.rejects(lock(member, { name: bytes("a"), lease: 7n }), { message: "mutex: session is expired" });
  assert.deepEqual(member.asked, ["txn", "range", "range"]);
});

test("whoever gives up waiting for a lock takes its key along", async () => {
  for (const why of ["gone", new EtcdError(GrpcCode.Unknown, "etcdserver: server stopped")] as const) {
    const member = new FakeMember({
      txn: [txn(9, true, ranged(9), ranged(9, kv("a/1", 3)))],
      range: [ranged(9, kv("a/1", 3))],
      watch: [[watched(9), why]],
    });
    await assert.rejects(lock(member, { name: bytes("a"), lease: 7n }), EtcdError);
    assert.deepEqual(member.asked, ["txn", "range", "watch a/1 9", "delete a/7"]);
  }
});

test("a watch that ends says why", async () => {
  const ends: [WatchResponse[], string][] = [
    [[], "lost watcher waiting for delete"],
    [
      [{ ...watched(9), canceled: true, compactRevision: 12 }],
      "etcdserver: mvcc: required revision has been compacted",
    ],
    [
      [{ ...watched(9), canceled: true, cancelReason: "etcdserver: permission denied" }],
      "etcdserver: permission denied",
    ],
  ];
  for (const [watch, message] of ends) {
    const member = new FakeMember({
      txn: [txn(9, true, ranged(9), ranged(9, kv("a/1", 3)))],
      range: [ranged(9, kv("a/1", 3))],
      watch: [watch],
    });
    await assert.rejects(lock(member, { name: bytes("a"), lease: 7n }), { code: GrpcCode.Unknown, message });
  }
});

test("a candidate who stands with another value proclaims it before it waits", async () => {
  const member = new FakeMember({
    txn: [txn(9, false, ranged(9, kv("e/7", 4, "old"))), txn(10, true)],
    range: [ranged(10)],
  });
  const { leader, header: answer } = await campaign(member, { name: bytes("e"), lease: 7n, value: bytes("new") });
  assert.deepEqual([text(leader?.key), leader?.rev, answer?.revision], ["e/7", 4, 9]);
  assert.deepEqual(member.txns[1]!.compare![0]!.targetUnion, { case: "createRevision", value: 4 });
});

test("a candidate resigns when its client has gone, and only then", async () => {
  for (const why of ["gone", new EtcdError(GrpcCode.Unknown, "etcdserver: server stopped")] as const) {
    const member = new FakeMember({
      txn: [txn(9, true), txn(10, true)],
      range: [ranged(9, kv("e/1", 3))],
      watch: [[why]],
    });
    await assert.rejects(campaign(member, { name: bytes("e"), lease: 7n, value: bytes("v") }), EtcdError);
    assert.equal(member.txns.length, why === "gone" ? 2 : 1);
  }
});

test("an observer sees the leader, what it proclaims, and who comes after it", async () => {
  const member = new FakeMember({
    range: [ranged(9, kv("e/1", 3, "one")), ranged(12)],
    watch: [
      [watched(9), watched(10, put("e/1", 10, "two")), watched(11, deleted("e/1"))],
      [watched(14, put("e/2", 13, "three"), put("e/3", 14, "four"))],
      [],
    ],
  });
  const seen: string[] = [];
  for await (const { kv: one, header: at } of observe(member, { name: bytes("e") }))
    seen.push(`${text(one?.value)}@${at?.revision}`);
  assert.deepEqual(seen, ["one@9", "two@10", "three@13"]);
  assert.deepEqual(member.asked, ["range", "watch e/1 10", "range", "watch e/ 12", "watch e/2 14"]);
});

test("a read holds the longest name twice; a limit that buffers could not have stays as it is", () => {
  assert.equal(readBytesMax(2 << 20), (4 << 20) + 128);
  assert.equal(readBytesMax(2 ** 31), 2 ** 31);
});
