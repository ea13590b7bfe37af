/** Our checks of a Txn before it is proposed against a real etcd's, on random txns over a handful of keys. */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { join } from "node:path";
import { KvValidator } from "../../src/api/grpc/index.js";
import { encodeTxnRequest, type RequestOpInit, type TxnRequestInit } from "../../src/proto/index.js";
import { chooseSeed, etcdBinaries, freePorts, GrpcClient, Member, Prng, temporaryFolder } from "../support/index.js";
import { plainSpaces } from "./oracle.js";

const cache = await etcdBinaries();
const needsEtcd = { skip: cache.kind === "ready" ? false : cache.reason };
const rounds = 2000;
/** Small, so that budgets are met often. */
const txnOpsMax = 8;

let folder: Awaited<ReturnType<typeof temporaryFolder>>;
let etcd: Member;
let client: GrpcClient;

before(async () => {
  if (cache.kind !== "ready") return;
  folder = await temporaryFolder();
  const [clientPort, peerPort] = (await freePorts(2)) as [number, number];
  const flags = [`--max-txn-ops=${txnOpsMax}`];
  etcd = await Member.start({
    command: [cache.binaries.etcd],
    dataDir: join(folder.path, "d"),
    clientPort,
    peerPort,
    flags,
  });
  client = new GrpcClient(clientPort);
});

after(async () => {
  if (cache.kind !== "ready") return;
  client.close();
  await etcd.stop();
  await folder.remove();
});

function someKey(prng: Prng): Uint8Array {
  return Buffer.from(prng.oneIn(40) ? "" : prng.pick(["a", "b", "c", "d", "e", "ab", "b\0"]));
}

function someOp(prng: Prng, depth: number): RequestOpInit {
  const key = someKey(prng);
  switch (prng.below(depth > 0 ? 9 : 7)) {
    case 0:
    case 1:
    case 2:
      return { request: { case: "requestPut", value: { key } } };
    case 3:
    case 4:
      return {
        request: { case: "requestDeleteRange", value: { key, rangeEnd: prng.pick([someKey(prng), Buffer.from([0])]) } },
      };
    case 5:
      return {
        request: { case: "requestRange", value: { key, sortOrder: prng.oneIn(20) ? 7 : 0, serializable: true } },
      };
    case 6:
      if (prng.oneIn(8)) return {};
      // ignore_lease without a lease is left out: "delete from e on, put e with ignore_lease" passes etcd's checks
      // (see validate-txn.ts on range ends of "\0"), and then the real etcd panics: the key is gone when it is put.
      if (prng.oneIn(5)) return { request: { case: "requestPut", value: { key, lease: 5n, ignoreLease: true } } };
      return { request: { case: "requestPut", value: { key, lease: prng.oneIn(9) ? 5n : 0n } } };
    default:
      return { request: { case: "requestTxn", value: someTxn(prng, depth - 1) } };
  }
}

function someTxn(prng: Prng, depth: number): TxnRequestInit {
  const ops = (): RequestOpInit[] => Array.from({ length: prng.below(4) }, () => someOp(prng, depth));
  const compare = Array.from({ length: prng.below(3) }, () => ({ key: someKey(prng) }));
  return { compare, success: ops(), failure: ops() };
}

/** Errors that only applying a txn can find. */
const later = /^etcdserver: (requested lease not found|key not found)$/;

test("random txns get the same error, or none", needsEtcd, async (t) => {
  const seed = chooseSeed();
  t.diagnostic(`SEED=${seed}`);
  const prng = new Prng(seed);
  const validator = new KvValidator({ txnOpsMax });
  const seen = new Map<string, number>();
  for (let round = 0; round < rounds; round++) {
    const message = encodeTxnRequest(someTxn(prng, 3));
    const reply = await client.unary("/etcdserverpb.KV/Txn", message);
    const ours = validator.checkTxn(message, 0, message.length)?.message ?? "";
    const shown = `SEED=${seed} round ${round}: ${Buffer.from(message).toString("hex")}`;
    const theirs = plainSpaces(reply.message);
    if (ours !== theirs) assert.ok(ours === "" && later.test(theirs), `${shown}: ours "${ours}", etcd's "${theirs}"`);
    seen.set(theirs, (seen.get(theirs) ?? 0) + 1);
  }
  t.diagnostic(JSON.stringify(Object.fromEntries(seen)));
  for (const text of [
    "",
    "duplicate key given in txn request",
    "too many operations in txn request",
    "key is not provided",
  ]) {
    assert.ok((seen.get(text && `etcdserver: ${text}`) ?? 0) > 10, `"${text}" comes up`);
  }
});
