/** Seeded random requests to the applier and to a slow, obvious store: every answer must be equal, byte for byte. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { SeededPrng } from "../base/index.js";
import {
  decodeDeleteRangeRequest,
  decodePutRequest,
  decodeRangeRequest,
  decodeTxnRequest,
  encodeDeleteRangeRequest,
  encodeDeleteRangeResponse,
  encodePutRequest,
  encodePutResponse,
  encodeRangeRequest,
  encodeRangeResponse,
  encodeTxnRequest,
  encodeTxnResponse,
  type CompareInit,
  type DeleteRangeRequestInit,
  type PutRequestInit,
  type RangeRequestInit,
  type RequestOpInit,
  type TxnRequestInit,
} from "../proto/index.js";
import { Model, ModelError } from "./model.test-support.js";
import { clusterId, memberId, raftTerm, Rig, type Reply } from "./rig.test-support.js";

const seed = Number(process.env["SEED"] ?? 20_261);
const lease = 0x7123_4567_89ab_cdefn;

/** Makes requests that meet each other often: few keys, small numbers, all options. */
class Generator {
  readonly #prng: SeededPrng;
  readonly #model: Model;

  constructor(seedOfRun: number, model: Model) {
    this.#prng = new SeededPrng(seedOfRun);
    this.#model = model;
  }

  below(bound: number): number {
    return this.#prng.below(bound);
  }
  chance(percent: number): boolean {
    return this.below(100) < percent;
  }
  pick<T>(values: readonly T[]): T {
    return values[this.below(values.length)]!;
  }

  key(): Uint8Array {
    return Buffer.from(
      this.pick(["a", "b", "c", "d", "ab", "abc", "e\0", "\0", "\xff\xff", "long".repeat(40)]),
      "latin1",
    );
  }
  value(): Uint8Array {
    return Buffer.from(this.pick(["", "1", "2", "x".repeat(200), "\0\xff"]), "latin1");
  }
  rangeEnd(): Uint8Array {
    if (this.chance(40)) return Buffer.alloc(0);
    return this.chance(30) ? Buffer.from([0]) : this.key();
  }
  revision(): number {
    return this.pick([0, 0, 0, 0, -1, -2, 1, this.#model.revision, this.#model.revision + 1, this.below(50)]);
  }

  range(): RangeRequestInit {
    const plain = this.chance(40);
    return {
      key: this.key(),
      rangeEnd: this.rangeEnd(),
      limit: this.pick([0, 0, 1, 2, 3, -1, 2 ** 53 - 1]),
      revision: this.revision(),
      sortOrder: plain ? 0 : this.below(3),
      sortTarget: plain ? 0 : this.below(5),
      keysOnly: this.chance(20),
      countOnly: this.chance(15),
      minModRevision: this.chance(10) ? this.below(20) : 0,
      maxModRevision: this.chance(10) ? this.below(60) : 0,
      minCreateRevision: this.chance(10) ? this.below(20) : 0,
      maxCreateRevision: this.chance(10) ? this.below(60) : 0,
    };
  }
  put(): PutRequestInit {
    const ignoreValue = this.chance(10);
    const ignoreLease = this.chance(10);
    return {
      key: this.key(),
      value: ignoreValue ? Buffer.alloc(0) : this.value(),
      lease: ignoreLease ? 0n : this.pick([0n, 0n, 0n, lease, 5n]),
      prevKv: this.chance(30),
      ignoreValue,
      ignoreLease,
    };
  }
  deleteRange(): DeleteRangeRequestInit {
    return { key: this.key(), rangeEnd: this.chance(60) ? Buffer.alloc(0) : this.rangeEnd(), prevKv: this.chance(40) };
  }
  compare(): CompareInit {
    const target = this.below(6);
    const number = this.pick([0, 1, 2, 3, this.#model.revision, -1]);
    const unions: CompareInit["targetUnion"][] = [
      { case: "version", value: number },
      { case: "createRevision", value: number },
      { case: "modRevision", value: number },
      { case: "value", value: this.value() },
      { case: "lease", value: this.pick([0n, lease, lease + 1n, -1n]) },
      undefined,
    ];
    const targetUnion = this.chance(90) ? unions[target] : this.pick(unions);
    return { result: this.below(5), target, key: this.key(), rangeEnd: this.rangeEnd(), targetUnion };
  }
  op(depth: number): RequestOpInit {
    const kind = this.below(depth > 2 ? 9 : 11);
    if (kind < 3) return { request: { case: "requestRange", value: this.range() } };
    if (kind < 7) return { request: { case: "requestPut", value: this.put() } };
    if (kind < 9) return { request: { case: "requestDeleteRange", value: this.deleteRange() } };
    return { request: { case: "requestTxn", value: this.txn(depth + 1) } };
  }
  ops(depth: number): RequestOpInit[] {
    return Array.from({ length: this.below(4) }, () => this.op(depth));
  }
  txn(depth = 0): TxnRequestInit {
    const compare = Array.from({ length: this.below(3) }, () => this.compare());
    return { compare, success: this.ops(depth), failure: this.ops(depth) };
  }
  readTxn(): TxnRequestInit {
    const ranges = (): RequestOpInit[] =>
      Array.from({ length: this.below(4) }, () => ({ request: { case: "requestRange", value: this.range() } }));
    const compare = Array.from({ length: this.below(3) }, () => this.compare());
    return { compare, success: ranges(), failure: ranges() };
  }
}

/** What the model says of a request, as the wire would carry it; an error by its text. */
function expected(answer: () => Uint8Array): Uint8Array | string {
  try {
    return answer();
  } catch (error) {
    if (error instanceof ModelError) return error.message;
    throw error;
  }
}

function header(revision: number): { clusterId: bigint; memberId: bigint; revision: number; raftTerm: number } {
  return { clusterId, memberId, revision, raftTerm };
}

function check(reply: Reply, want: Uint8Array | string, what: string): void {
  if (typeof want === "string") assert.equal(reply.text, want, what);
  else {
    assert.equal(reply.text, "", what);
    assert.equal(Buffer.from(reply.message).toString("hex"), Buffer.from(want).toString("hex"), what);
  }
}

/** One random request to both. */
function step(rig: Rig, model: Model, generator: Generator, what: string): void {
  const kind = generator.below(100);
  if (kind < 30) {
    const put = generator.put();
    const request = decodePutRequest(encodePutRequest(put));
    const want = expected(() => {
      const { revision, prevKv } = model.put(request);
      return encodePutResponse({ header: header(revision), prevKv });
    });
    check(rig.request({ put }), want, `${what} put`);
  } else if (kind < 40) {
    const deleteRange = generator.deleteRange();
    const request = decodeDeleteRangeRequest(encodeDeleteRangeRequest(deleteRange));
    const { revision, ...rest } = model.deleteRange(request);
    check(
      rig.request({ deleteRange }),
      encodeDeleteRangeResponse({ header: header(revision), ...rest }),
      `${what} deleteRange`,
    );
  } else if (kind < 65) {
    const range = generator.range();
    const request = decodeRangeRequest(encodeRangeRequest(range));
    const want = expected(() => {
      const { revision, ...rest } = model.range(request);
      return encodeRangeResponse({ header: header(revision), ...rest });
    });
    check(rig.range(range), want, `${what} range ${JSON.stringify(range)}`);
  } else {
    const isRead = kind < 75;
    const txn = isRead ? generator.readTxn() : generator.txn();
    const request = decodeTxnRequest(encodeTxnRequest(txn));
    const want = expected(() => {
      const { revision, ...rest } = model.txn(request);
      return encodeTxnResponse({ header: header(revision), ...rest });
    });
    check(isRead ? rig.readTxn(txn) : rig.request({ txn }), want, `${what} txn`);
  }
}

test(`random requests are answered as the model answers them (seed ${seed})`, async () => {
  for (let run = 0; run < 12; run++) {
    const model = new Model();
    model.leases.add(lease);
    const rig = await Rig.open({
      leaseIds: [lease],
    });
    const generator = new Generator(seed + run, model);
    for (let i = 0; i < 400; i++) step(rig, model, generator, `seed ${seed + run} step ${i}`);
    assert.ok(model.revision > 100, "the run must have written");
  }
});

test("requests in the smallest slices are answered the same, and reads between them see the state before", async () => {
  const model = new Model();
  model.leases.add(lease);
  const rig = await Rig.open({ leaseIds: [lease], writeSlice: { keys: 1, bytes: 1 } });
  const generator = new Generator(seed + 100, model);
  const everything = { key: Buffer.from([0]), rangeEnd: Buffer.from([0]) };
  let before = rig.range(everything);
  rig.betweenSlices = () => assert.deepEqual(rig.range(everything).message, before.message);
  for (let i = 0; i < 400; i++) {
    step(rig, model, generator, `seed ${seed + 100} step ${i}`);
    before = rig.range(everything);
  }
  assert.ok(rig.turns > 400, `${rig.turns} turns`);
});

test("a member on which nobody waits ends up with the same records", async () => {
  const model = new Model();
  model.leases.add(lease);
  const leaseIds = [lease];
  const [asked, follower] = [await Rig.open({ leaseIds }), await Rig.open({ leaseIds })];
  const generator = new Generator(seed, model);
  for (let i = 0; i < 500; i++) {
    const request = generator.pick([
      () => ({ put: generator.put() }),
      () => ({ deleteRange: generator.deleteRange() }),
      () => ({ txn: generator.txn() }),
    ])();
    asked.request(request);
    follower.follow(request);
  }
  assert.ok(asked.store.currentRevision > 100);
  assert.equal(follower.store.currentRevision, asked.store.currentRevision);
  const [a, b] = [await asked.store.hashKv(0), await follower.store.hashKv(0)];
  assert.equal(a.hash, b.hash);
  assert.equal(follower.backend.consistentIndex, 500);
});
