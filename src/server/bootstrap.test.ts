import assert from "node:assert/strict";
import { test } from "node:test";
import { EntryBatch, EntryType } from "../base/index.js";
import { loadConfig, type Config } from "../config/index.js";
import { decodeConfChange } from "../proto/index.js";
import { emptyConfState } from "../raft/index.js";
import {
  BootstrapError,
  decodeLogMetadata,
  encodeLogMetadata,
  firstEntries,
  planNewCluster,
  ReplayedLog,
} from "./bootstrap.js";

function config(...args: string[]): Config {
  const loaded = loadConfig(args, {});
  assert.equal(loaded.kind, "config");
  return (loaded as { config: Config }).config;
}

function entries(term: number, firstIndex: number, count: number): EntryBatch {
  return new EntryBatch({
    term,
    firstIndex,
    types: new Uint8Array(count),
    ends: Uint32Array.from({ length: count }, (_, i) => i + 1),
    bytes: Uint8Array.from({ length: count }, (_, i) => firstIndex + i),
  });
}

test("IDs of a default member are those that etcd gives it", () => {
  const cluster = planNewCluster(config());
  assert.equal(cluster.memberId.toString(16), "8e9e05c52164694d");
  assert.equal(cluster.clusterId.toString(16), "cdf818194e3a8c32");
  const identity = { memberId: cluster.memberId, clusterId: cluster.clusterId };
  const pairId = Uint8Array.from({ length: 16 }, (_, i) => i);
  assert.deepEqual(decodeLogMetadata(encodeLogMetadata({ identity, pairId })), { identity, pairId });
});

test("a cluster that does not name this member, or names other URLs, is refused", () => {
  assert.throws(() => planNewCluster(config("--name=a", "--initial-cluster=b=http://localhost:2380")), BootstrapError);
  assert.throws(() => planNewCluster(config("--initial-cluster=default=http://localhost:1")), /make them equal/);
  assert.throws(() => planNewCluster(config("--initial-cluster=nonsense")), /name=URL/);
});

test("the first entries are one AddNode a member by ascending ID, with the type written as etcd writes it", () => {
  const cluster = planNewCluster(config());
  const batch = firstEntries(cluster.members);
  assert.deepEqual([batch.term, batch.firstIndex, batch.count, batch.typeOf(1)], [1, 1, 1, EntryType.ConfChange]);
  assert.deepEqual([...batch.bytes.subarray(0, 3)], [0x10, 0x00, 0x18]);
  const change = decodeConfChange(batch.bytes);
  assert.equal(change.id, undefined);
  assert.equal(
    Buffer.from(change.context!).toString(),
    `{"id":${cluster.memberId},"peerURLs":["http://localhost:2380"],"name":"default"}`,
  );
});

test("a replayed log is what was written last for each index, behind the newest mark (§5.3)", () => {
  const log = new ReplayedLog();
  log.entriesRecord(entries(1, 1, 5));
  log.entriesRecord(entries(1, 6, 5));
  log.entriesRecord(entries(2, 4, 2));
  log.entriesRecord(entries(3, 6, 1));
  assert.deepEqual(
    log.batches.map((batch) => [batch.term, batch.firstIndex, batch.lastIndex]),
    [
      [1, 1, 3],
      [2, 4, 5],
      [3, 6, 6],
    ],
  );
  log.snapshotMark({ index: 4, term: 2, confState: emptyConfState });
  assert.deepEqual(
    log.batches.map((batch) => [batch.firstIndex, batch.lastIndex]),
    [
      [5, 5],
      [6, 6],
    ],
  );
  log.entriesRecord(entries(3, 3, 5));
  assert.deepEqual(
    log.batches.map((batch) => [batch.term, batch.firstIndex, batch.lastIndex]),
    [[3, 5, 7]],
  );
  assert.equal(log.lastIndex, 7);
});
