/** Databases in memory for tests: random buckets, the file written of them, and what a file holds. */
import { copyOf, type SeededPrng } from "../base/index.js";
import type { BoltFile, ByteSource } from "./bolt-file.js";
import { sizeBuckets, writeBuckets, type BoltWriterOptions, type BucketSource } from "./file-writer.js";
import { PageOutput } from "./page-output.js";

export type Pair = readonly [key: Buffer, value: Buffer];
/** Name and entries, both in order. */
export type Database = readonly (readonly [name: string, entries: readonly Pair[]])[];

function sourceOf([name, entries]: Database[number]): BucketSource {
  return {
    name: Buffer.from(name),
    open: () => {
      let at = -1;
      return {
        next: () => ++at < entries.length,
        get key() {
          return entries[at]![0];
        },
        get value() {
          return entries[at]![1];
        },
        get keyLength() {
          return entries[at]![0].length;
        },
        get valueLength() {
          return entries[at]![1].length;
        },
        close: () => {},
      };
    },
  };
}

/** Runs all steps. */
export function finish<T>(steps: Generator<unknown, T>): T {
  for (;;) {
    const step = steps.next();
    if (step.done === true) return step.value;
  }
}

/** The whole file. */
export function fileOf(database: Database, options: BoltWriterOptions = {}): Buffer {
  const sources = database.map(sourceOf);
  const layout = finish(sizeBuckets(sources, options));
  const output = new PageOutput();
  const parts: Buffer[] = [];
  for (const _ of writeBuckets(sources, layout, output, 64 << 10)) {
    parts.push(Buffer.from(copyOf(output.bytes, 0, output.length)));
    output.drop(output.length);
  }
  parts.push(Buffer.from(copyOf(output.bytes, 0, output.length)));
  return Buffer.concat(parts);
}

export function bytesSource(bytes: Uint8Array): ByteSource {
  return {
    size: bytes.length,
    read: (at, into) => into.set(bytes.subarray(at, at + into.length)),
  };
}

/** All that a file holds. */
export function databaseOf(file: BoltFile): Database {
  return [...file.buckets()].map(({ name, header }) => [
    Buffer.from(name).toString(),
    [...file.entries(header)].map(({ key, value }) => [Buffer.from(key), Buffer.from(value)] as const),
  ]);
}

/** What a bucket of a random database is like. */
export interface Manner {
  readonly entries: number;
  readonly keyBytesMax: number;
  readonly valueBytesMax: number;
}

function randomBytes(prng: SeededPrng, length: number): Buffer {
  return Buffer.from(Array.from({ length }, () => prng.below(256)));
}

/** Distinct keys in order, with values of any length up to the manner's. */
export function randomEntries(prng: SeededPrng, { entries, keyBytesMax, valueBytesMax }: Manner): Pair[] {
  const keys = new Map<string, Buffer>();
  for (let i = 0; i < entries; i++) {
    const key = randomBytes(prng, 1 + prng.below(keyBytesMax));
    keys.set(key.toString("latin1"), key);
  }
  return [...keys.values()]
    .toSorted((a, b) => Buffer.compare(a, b))
    .map((key) => [key, Buffer.alloc(prng.below(1 + prng.below(1 + valueBytesMax)), key)]);
}
