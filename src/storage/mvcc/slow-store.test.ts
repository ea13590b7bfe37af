/**
 * The store as a list of changes, slow and obvious, against which the real one is checked. The hash
 * follows etcd's sources literally: generations of each key, what a compaction would keep, and
 * CRC-32C by a table.
 */
import assert from "node:assert/strict";
import { test } from "node:test";

export interface SlowRecord {
  readonly key: string;
  readonly main: number;
  readonly sub: number;
  readonly tombstone: boolean;
  readonly create: number;
  readonly version: number;
  readonly value: string;
  readonly lease: bigint;
}

const table = Uint32Array.from({ length: 256 }, (_, n) => {
  let crc = n;
  for (let bit = 0; bit < 8; bit++) crc = (crc & 1) === 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1;
  return crc >>> 0;
});

/** CRC-32C continued over `bytes`. */
export function crc32cByTable(crc: number, bytes: Uint8Array): number {
  let state = ~crc;
  for (const byte of bytes) state = table[(state ^ byte) & 255]! ^ (state >>> 8);
  return ~state >>> 0;
}

function varint(value: bigint): number[] {
  const bytes: number[] = [];
  for (let rest = BigInt.asUintN(64, value); ; rest >>= 7n) {
    if (rest < 128n) return [...bytes, Number(rest)];
    bytes.push(Number(rest & 127n) | 128);
  }
}

/** The record's mvccpb.KeyValue. */
export function marshal(record: SlowRecord): Buffer {
  const key = Buffer.from(record.key, "latin1");
  const value = Buffer.from(record.value, "latin1");
  const parts: (number[] | Buffer)[] = [];
  if (key.length > 0) parts.push([0x0a], varint(BigInt(key.length)), key);
  if (!record.tombstone) {
    parts.push([0x10], varint(BigInt(record.create)), [0x18], varint(BigInt(record.main)));
    parts.push([0x20], varint(BigInt(record.version)));
    if (value.length > 0) parts.push([0x2a], varint(BigInt(value.length)), value);
    if (record.lease !== 0n) parts.push([0x30], varint(record.lease));
  }
  return Buffer.concat(parts.map((part) => Buffer.from(part)));
}

function bucketKey(record: SlowRecord): Buffer {
  const bytes = Buffer.alloc(record.tombstone ? 18 : 17);
  bytes.writeBigUInt64BE(BigInt(record.main), 0);
  bytes.write("_", 8);
  bytes.writeBigUInt64BE(BigInt(record.sub), 9);
  if (record.tombstone) bytes.write("t", 17);
  return bytes;
}

/** Whether `key` is in etcd's range: empty end = one key, "\0" = open. */
function inRange(key: string, from: string, end: string): boolean {
  return end === "" ? key === from : key >= from && (end === "\0" || key < end);
}

export class SlowStore {
  readonly records: SlowRecord[] = [];
  revision = 1;
  #subs = 0;

  /** The keys that live at `revision`, in order. */
  at(revision: number, from = "", end = "\0"): SlowRecord[] {
    const alive = new Map<string, SlowRecord>();
    for (const record of this.records) {
      if (record.main > revision || !inRange(record.key, from, end)) continue;
      if (record.tombstone) alive.delete(record.key);
      else alive.set(record.key, record);
    }
    return [...alive.values()].toSorted((a, b) => (a.key < b.key ? -1 : 1));
  }

  put(key: string, value: string, lease: bigint): void {
    const main = this.revision + 1;
    const before = this.at(main, key, "")[0];
    const { create, version } = before ?? { create: main, version: 0 };
    this.records.push({ key, main, sub: this.#subs++, tombstone: false, create, version: version + 1, value, lease });
  }

  deleteRange(from: string, end: string): number {
    const main = this.revision + 1;
    const found = this.at(main, from, end);
    for (const { key } of found) {
      this.records.push({ key, main, sub: this.#subs++, tombstone: true, create: 0, version: 0, value: "", lease: 0n });
    }
    return found.length;
  }

  end(): void {
    if (this.#subs > 0) this.revision++;
    this.#subs = 0;
  }

  /** A key's generations; all but the last end with a tombstone, the last may be empty. */
  #generations(key: string): SlowRecord[][] {
    const generations: SlowRecord[][] = [[]];
    for (const record of this.records) {
      if (record.key !== key) continue;
      generations.at(-1)!.push(record);
      if (record.tombstone) generations.push([]);
    }
    return generations;
  }

  /** etcd's keep set at `revision`. */
  #keep(revision: number): Set<SlowRecord> {
    const keep = new Set<SlowRecord>();
    for (const key of new Set(this.records.map((record) => record.key))) {
      const generations = this.#generations(key);
      let g = 0;
      while (g < generations.length - 1 && generations[g]!.at(-1)!.main < revision) g++;
      const newest = generations[g]!.findLast((record) => record.main <= revision);
      const endsGeneration = g !== generations.length - 1 && newest === generations[g]!.at(-1);
      if (newest !== undefined && !endsGeneration) keep.add(newest);
    }
    return keep;
  }

  hash(revision: number, compactRevision: number): number {
    return this.#hash(this.#keep(revision), revision, compactRevision);
  }

  /** Compacts at `revision`; returns the hash that the compaction makes, `previous` being the compact revision before. */
  compact(revision: number, previous: number): number {
    const newest = new Map<string, SlowRecord>();
    for (const record of this.records) if (record.main <= revision) newest.set(record.key, record);
    const keep = new Set([...newest.values()].filter(({ tombstone, main }) => !tombstone || main === revision));
    const hash = this.#hash(keep, revision, previous);
    const kept = this.records.filter((record) => record.main > revision || keep.has(record));
    this.records.splice(0, Infinity, ...kept);
    return hash;
  }

  #hash(keep: ReadonlySet<SlowRecord>, revision: number, compactRevision: number): number {
    let crc = crc32cByTable(0, Buffer.from("key"));
    for (const record of this.records) {
      if (record.main > revision) continue;
      if (record.main <= compactRevision && keep.size > 0 && !keep.has(record)) continue;
      if (record.main === compactRevision && record.tombstone) continue;
      crc = crc32cByTable(crc32cByTable(crc, bucketKey(record)), marshal(record));
    }
    return crc;
  }
}

test("the table computes CRC-32C", () => {
  assert.equal(crc32cByTable(0, Buffer.from("123456789")), 0xe3069283);
  assert.equal(crc32cByTable(crc32cByTable(0, Buffer.from("1234")), Buffer.from("56789")), 0xe3069283);
  assert.equal(crc32cByTable(0, Buffer.from("key")), 1084519789);
});

test("a record is marshalled as Go does (reference: rev 8.0 of foo)", () => {
  const record = { key: "foo", main: 8, sub: 0, tombstone: false, create: 6, version: 3, value: "baz", lease: 0n };
  assert.equal(marshal(record).toString("hex"), "0a03666f6f10061808200" + "32a0362617a");
});
