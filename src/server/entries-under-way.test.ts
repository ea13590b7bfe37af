import assert from "node:assert/strict";
import { test } from "node:test";
import { EntryBatch, SeededPrng } from "../base/index.js";
import { EntriesUnderWay } from "./entries-under-way.js";

/** Entries with the given bytes each. */
function batchOf(firstIndex: number, sizes: readonly number[]): EntryBatch {
  let end = 0;
  const ends = Uint32Array.from(sizes, (size) => (end += size));
  return new EntryBatch({ term: 1, firstIndex, types: new Uint8Array(sizes.length), ends, bytes: new Uint8Array(end) });
}

test("bytes under way are those of the entries that are in the log and not with apply", () => {
  const prng = new SeededPrng(11);
  const underWay = new EntriesUnderWay();
  /** Bytes of each entry, by index; those up to `handed` are with apply. */
  const log: number[] = [0];
  let handed = 0;
  for (let step = 0; step < 20_000; step++) {
    const choice = prng.below(10);
    if (choice < 5) {
      // A new leader's entries may replace the end of the log, but nothing that is committed.
      const first = prng.below(4) === 0 ? handed + 1 + prng.below(log.length - handed) : log.length;
      const sizes = Array.from({ length: 1 + prng.below(4) }, () => prng.below(50));
      log.length = first;
      log.push(...sizes);
      underWay.appended(batchOf(first, sizes));
    } else if (choice < 9) {
      handed += prng.below(log.length - handed);
      underWay.handedTo(handed);
    } else if (prng.below(50) === 0) {
      // The log goes on behind a snapshot.
      log.push(0);
      handed = log.length - 1;
      underWay.clear();
    }
    const expected = log.slice(handed + 1).reduce((sum, size) => sum + size, 0);
    assert.equal(underWay.bytes, expected, `step ${step}`);
  }
});
