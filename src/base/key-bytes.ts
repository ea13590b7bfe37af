/**
 * Names of keys, each under an address: blocks of a multiple of 8 bytes in chunks of 64 KiB, and freed blocks used
 * again by their size. Longer names are kept each by itself.
 * Nothing ever moves, so that no caller waits while memory is put in order.
 */
import { copyOf } from "./copy-of.js";

const chunkBytes = 1 << 16;
const unitBytes = 8;
const unitsPerChunk = chunkBytes / unitBytes;
/** The longest name that goes into a chunk. */
const blockBytesMax = 1024;
/** Addresses from here on are of long names. */
const longBase = 0x8000_0000;
const none = 0xffff_ffff;

/** FNV-1a of `bytes[start, end)`; `basis`: where it starts, so that no client knows which keys meet in a table. */
export function hashOfBytes(bytes: Uint8Array, start: number, end: number, basis = 0x811c9dc5): number {
  let hash = basis;
  for (let i = start; i < end; i++) hash = Math.imul(hash ^ bytes[i]!, 0x01000193);
  return (hash ^ (hash >>> 15)) >>> 0;
}

export class KeyBytes {
  readonly #chunks: Uint8Array[] = [];
  /** By block size in units: the first freed block; each freed block holds the address of the next. */
  readonly #free = new Uint32Array(blockBytesMax / unitBytes + 1).fill(none);
  readonly #long = new Map<number, Uint8Array>();
  /** Addresses of long names that were removed: there are only 2^31. */
  readonly #freeLong: number[] = [];
  #nextLong = longBase;
  /** The next unused unit of the last chunk. */
  #unit = unitsPerChunk;

  /** Copies `bytes[start, end)`; returns its address. */
  add(bytes: Uint8Array, start: number, end: number): number {
    const length = end - start;
    if (length > blockBytesMax) {
      const address = this.#freeLong.pop() ?? this.#nextLong++;
      this.#long.set(address, copyOf(bytes, start, end));
      return address;
    }
    const address = this.#allocate(Math.max(1, Math.ceil(length / unitBytes)));
    const chunk = this.#chunkOf(address);
    const at = offsetOf(address);
    for (let i = 0; i < length; i++) chunk[at + i] = bytes[start + i]!;
    return address;
  }

  remove(address: number, length: number): void {
    if (address < longBase) return this.#release(address, Math.max(1, Math.ceil(length / unitBytes)));
    this.#long.delete(address);
    this.#freeLong.push(address);
  }

  equals(address: number, length: number, bytes: Uint8Array, start: number): boolean {
    const chunk = this.#chunkOf(address);
    const at = offsetOf(address);
    for (let i = 0; i < length; i++) if (chunk[at + i] !== bytes[start + i]) return false;
    return true;
  }

  /** Whether two names are equal in their first `length` bytes. */
  areEqual(a: number, b: number, length: number): boolean {
    return this.equals(a, length, this.#chunkOf(b), offsetOf(b));
  }

  /** A copy of the name. */
  copy(address: number, length: number): Uint8Array {
    const at = offsetOf(address);
    return copyOf(this.#chunkOf(address), at, at + length);
  }

  /** Latin-1 text of the bytes from `from` up to `to` of the name. */
  text(address: number, from: number, to: number): string {
    const { buffer, byteOffset } = this.#chunkOf(address);
    return Buffer.from(buffer, byteOffset + offsetOf(address) + from, to - from).toString("latin1");
  }

  /** As `hashOfBytes`, of the name's first `length` bytes. */
  hash(address: number, length: number, basis: number): number {
    const at = offsetOf(address);
    return hashOfBytes(this.#chunkOf(address), at, at + length, basis);
  }

  #chunkOf(address: number): Uint8Array {
    return address >= longBase ? this.#long.get(address)! : this.#chunks[Math.floor(address / unitsPerChunk)]!;
  }

  #allocate(units: number): number {
    const freed = this.#free[units]!;
    if (freed !== none) {
      this.#free[units] = this.#readLink(freed);
      return freed;
    }
    if (this.#unit + units > unitsPerChunk) this.#newChunk();
    const address = (this.#chunks.length - 1) * unitsPerChunk + this.#unit;
    this.#unit += units;
    return address;
  }

  /** What is left of the last chunk becomes a free block. */
  #newChunk(): void {
    const left = unitsPerChunk - this.#unit;
    if (left > 0) this.#release((this.#chunks.length - 1) * unitsPerChunk + this.#unit, left);
    this.#chunks.push(new Uint8Array(chunkBytes));
    this.#unit = 0;
  }

  #release(address: number, units: number): void {
    const chunk = this.#chunkOf(address);
    const at = offsetOf(address);
    const next = this.#free[units]!;
    for (let i = 0; i < 4; i++) chunk[at + i] = next >>> (8 * i);
    this.#free[units] = address;
  }

  #readLink(address: number): number {
    const chunk = this.#chunkOf(address);
    const at = offsetOf(address);
    return (chunk[at]! | (chunk[at + 1]! << 8) | (chunk[at + 2]! << 16) | (chunk[at + 3]! << 24)) >>> 0;
  }
}

function offsetOf(address: number): number {
  return address >= longBase ? 0 : (address % unitsPerChunk) * unitBytes;
}
