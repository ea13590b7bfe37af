/**
 * After a crash: reads back what the server now holds and proves it to be a history that its
 * clients can have seen. Every acknowledged write is at its revision, whole; the revisions between
 * belong to writes whose fate was unknown, each applied once at most; and the hash of all records
 * is that of the model which applied the same writes.
 */
import assert from "node:assert/strict";
import { base64, callOn, GrpcClient, type Json, type JsonObject } from "../support/index.js";
import type { Write } from "./crash-load.js";
import type { Change, History } from "./history.js";

const text = (value: Json | undefined): string => Buffer.from(String(value ?? ""), "base64").toString();
const all = base64("\0");

const headerRevision = (response: JsonObject): number => Number((response["header"] as JsonObject)["revision"]);

const kvsOf = (response: JsonObject): JsonObject[] => (response["kvs"] ?? []) as JsonObject[];

interface Seen {
  readonly key: string;
  readonly value: string;
}

/** Keys put at `revision`, and keys that went at it. */
const changesAt = async (
  client: GrpcClient,
  history: History,
  revision: number,
): Promise<{ puts: Seen[]; gone: string[] }> => {
  const at = String(revision);
  const put = await callOn(client, "KV/Range", { key: all, range_end: all, revision: at, min_mod_revision: at });
  const there = await callOn(client, "KV/Range", { key: all, range_end: all, revision: at, keys_only: true });
  const present = new Set(kvsOf(there).map((kv) => text(kv["key"])));
  return {
    puts: kvsOf(put).map((kv) => ({ key: text(kv["key"]), value: text(kv["value"]) })),
    gone: history.keys().filter((key) => !present.has(key)),
  };
};

const effectOf = (history: History, changes: readonly Change[]): { puts: Seen[]; gone: string[] } => ({
  puts: changes.filter((change) => change.kind === "put").map(({ key, value }) => ({ key, value })),
  gone: changes.filter(({ kind, key }) => kind === "delete" && history.has(key)).map(({ key }) => key),
});

const isSame = (a: { puts: Seen[]; gone: string[] }, b: { puts: Seen[]; gone: string[] }): boolean => {
  const sorted = ({ puts, gone }: { puts: Seen[]; gone: string[] }): string =>
    JSON.stringify([puts.map(({ key, value }) => [key, value]).toSorted(), gone.toSorted()]);
  return sorted(a) === sorted(b);
};

/** Finds the write of unknown fate that made `revision`; each may be found once. */
const resolveUnknown = async (
  client: GrpcClient,
  history: History,
  revision: number,
  unknown: Set<Write>,
): Promise<Write> => {
  const seen = await changesAt(client, history, revision);
  for (const write of unknown) {
    if (!isSame(seen, effectOf(history, write.changes))) continue;
    unknown.delete(write);
    return write;
  }
  throw new Error(
    `revision ${revision} was made by nobody, by part of a write or by one applied twice: ${JSON.stringify(seen)}`,
  );
};

const readsPerTxn = 60;

interface Expected {
  readonly key: string;
  readonly value: string;
  readonly revision: number;
}

/** Reads each acknowledged put back at its own revision. */
const checkReads = async (client: GrpcClient, expected: readonly Expected[]): Promise<void> => {
  for (let at = 0; at < expected.length; at += readsPerTxn) {
    const part = expected.slice(at, at + readsPerTxn);
    const success = part.map(({ key, revision }) => ({
      request_range: { key: base64(key), revision: String(revision) },
    }));
    const { responses } = await callOn(client, "KV/Txn", { success });
    for (const [i, { key, value, revision }] of part.entries()) {
      const answer = (responses as JsonObject[])[i]?.["response_range"] as JsonObject;
      const [kv] = kvsOf(answer);
      assert.ok(kv !== undefined, `${key} is missing at revision ${revision}: an acknowledged write is lost`);
      assert.equal(text(kv["value"]), value, `${key} at revision ${revision}`);
      assert.equal(kv["mod_revision"], String(revision), `${key} at revision ${revision}`);
    }
  }
};

/** What one check did. */
export interface CheckResult {
  readonly acknowledged: number;
  readonly revisions: number;
  /** Unacknowledged writes that were kept, and those that were not. */
  readonly keptUnknown: number;
  readonly lostUnknown: number;
}

const byRevision = (writes: readonly Write[]): Map<number, Write> => {
  const acknowledged = new Map<number, Write>();
  for (const write of writes) {
    if (write.revision === null || write.wasEmpty) continue;
    const twice = acknowledged.get(write.revision);
    assert.equal(twice, undefined, `revision ${write.revision} was given to ${write.id} and ${twice?.id}`);
    assert.ok(write.revision > write.after, `${write.id} got ${write.revision}, after ${write.after} was acknowledged`);
    acknowledged.set(write.revision, write);
  }
  return acknowledged;
};

/** Checks the server against the writes of one round and brings `history` up to it. */
export const checkRound = async (port: number, writes: readonly Write[], history: History): Promise<CheckResult> => {
  const client = new GrpcClient(port);
  try {
    const acknowledged = byRevision(writes);
    const unknown = new Set(writes.filter(({ revision }) => revision === null));
    const unknownBefore = unknown.size;
    const current = headerRevision(await callOn(client, "KV/Range", { key: base64("x") }));
    const newest = Math.max(history.revision, ...acknowledged.keys());
    assert.ok(current >= newest, `the store is at ${current}, but ${newest} was acknowledged`);
    const from = history.revision;
    const expected: Expected[] = [];
    for (let revision = from + 1; revision <= current; revision++) {
      const write = acknowledged.get(revision) ?? (await resolveUnknown(client, history, revision, unknown));
      assert.ok(history.apply(write.changes), `${write.id} changes nothing at revision ${revision}`);
      assert.equal(history.revision, revision);
      for (const change of write.changes) if (change.kind === "put") expected.push({ ...change, revision });
    }
    await checkReads(client, expected);
    const hash = await callOn(client, "Maintenance/HashKV", { revision: String(current) });
    assert.equal(hash["hash"], history.hash, `HashKV at revision ${current}`);
    return {
      acknowledged: acknowledged.size,
      revisions: current - from,
      keptUnknown: unknownBefore - unknown.size,
      lostUnknown: unknown.size,
    };
  } finally {
    client.close();
  }
};
