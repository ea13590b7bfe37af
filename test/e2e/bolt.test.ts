/** Files that src/bolt writes, judged by bbolt itself: its consistency check, and its own writing to them. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { promisify } from "node:util";
import { copyOf } from "../../src/base/index.js";
import { PageOutput, sizeBuckets, writeBuckets, type BucketSource } from "../../src/bolt/index.js";
import { chooseSeed, goProgram, packageRoot, Prng, temporaryFolder } from "../support/index.js";

/** A bucket whose keys are numbered, so that nothing need be kept. */
interface Kind {
  readonly entries: number;
  readonly keyBytes: number;
  readonly valueBytesMax: number;
}

const bucketOf = (name: string, kind: Kind, seed: number): BucketSource => ({
  name: Buffer.from(name),
  open: () => {
    const prng = new Prng(seed);
    const cursor = {
      at: -1,
      key: Buffer.alloc(kind.keyBytes),
      value: Buffer.alloc(0),
      next: (): boolean => {
        cursor.key.writeUInt32BE(++cursor.at);
        cursor.value = Buffer.alloc(prng.below(1 + prng.below(kind.valueBytesMax + 1)), cursor.at);
        return cursor.at < kind.entries;
      },
      get keyLength() {
        return cursor.key.length;
      },
      get valueLength() {
        return cursor.value.length;
      },
      close: () => {},
    };
    return cursor;
  },
});

const fileOf = (sources: readonly BucketSource[], freeList: boolean): Buffer => {
  const sizing = sizeBuckets(sources, { freeList });
  let step = sizing.next();
  while (step.done !== true) step = sizing.next();
  const output = new PageOutput();
  const parts: Buffer[] = [];
  const take = (): void => {
    parts.push(Buffer.from(copyOf(output.bytes, 0, output.length)));
    output.drop(output.length);
  };
  for (const _ of writeBuckets(sources, step.value, output, 1 << 20)) take();
  take();
  return Buffer.concat(parts);
};

test("bbolt finds nothing wrong with what we write, and can write on in it", async (t) => {
  const program = await goProgram("bolt-check", join(packageRoot, "test", "e2e", "bolt-check"));
  if (program === null) return t.skip("Go is missing");
  const folder = await temporaryFolder();
  const seed = chooseSeed();
  t.diagnostic(`SEED=${seed}`);
  const prng = new Prng(seed);
  const paths: string[] = [];
  for (let i = 0; i < 24; i++) {
    const kind = (): Kind => ({
      entries: prng.below(1 + prng.below(20_000)),
      keyBytes: 4 + prng.below(1 + prng.below(2000)),
      valueBytesMax: prng.below(1 + prng.below(20_000)),
    });
    const small = (): Kind => ({ ...kind(), entries: prng.below(1500) });
    const kinds = [kind(), small(), { entries: 0, keyBytes: 4, valueBytesMax: 0 }, { ...small(), keyBytes: 9 }];
    if (kinds[0]!.entries * (kinds[0]!.keyBytes + kinds[0]!.valueBytesMax / 4) > 64e6) continue;
    const sources = kinds.map((one, n) => bucketOf(`bucket ${n}`, one, seed + n));
    const path = join(folder.path, `${i}.db`);
    await writeFile(path, fileOf(sources, i % 2 === 0));
    paths.push(path);
  }
  assert.ok(paths.length > 10);
  await promisify(execFile)(program, paths).catch((error: { stdout: string }) => assert.fail(error.stdout));
  await folder.remove();
});
