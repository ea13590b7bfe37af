/**
 * The numbers of bbolt's file format (version 2) and its meta pages. All little-endian.
 *
 *   page header     u64 id, u16 flags, u16 count, u32 overflow (further pages)
 *   leaf element    u32 flags (1: a bucket), u32 pos (from the element's own start), u32 key bytes, u32 value bytes
 *   branch element  u32 pos, u32 key bytes, u64 child page
 *   bucket value    u64 root page, u64 sequence; root 0: a leaf page follows in the value itself
 *   meta            u32 magic, version, page size, flags; u64 root, sequence, free list, high-water page, txid,
 *                   FNV-1a 64 of the 56 bytes before
 */
import { BoltError } from "./errors.js";

export const pageHeaderBytes = 16;
export const elementBytes = 16;
export const bucketHeaderBytes = 16;
export const metaBytes = 64;

export const PageFlag = { Branch: 1, Leaf: 2, Meta: 4, FreeList: 16 } as const;
/** Of a leaf element: its value is a bucket's header. */
export const bucketFlag = 1;

/** What we write; readers take any power of two that bbolt does. */
export const pageBytes = 4096;
export const pageBytesMin = 1024;
export const pageBytesMax = 1 << 25;
/** Beyond it bbolt takes no key. */
export const keyBytesMax = 32_768;
/** A bucket of at most so many bytes, as a page, lies in its value. */
export const inlineBytesMax = pageBytes / 4;

const magic = 0xed0cdaed;
const version = 2;
/** The free list is not stored: free is what cannot be reached. */
export const noFreeList = 0xffff_ffff_ffff_ffffn;

/** What a meta page says. Page numbers are checked to be safe integers. */
export interface Meta {
  readonly pageBytes: number;
  readonly root: number;
  /** null: not stored. */
  readonly freeList: number | null;
  /** The first page number that is not in use. */
  readonly highWater: number;
  readonly txid: bigint;
}

/** FNV-1a, 64 bits. */
function checksum(bytes: Uint8Array): bigint {
  let hash = 0xcbf29ce484222325n;
  for (const byte of bytes) hash = BigInt.asUintN(64, (hash ^ BigInt(byte)) * 0x100000001b3n);
  return hash;
}

/** Writes page `id` (0 or 1) as a meta page; the rest of the page is left alone. */
export function writeMeta(page: Uint8Array, id: 0 | 1, meta: Meta): void {
  const view = new DataView(page.buffer, page.byteOffset, page.byteLength);
  view.setBigUint64(0, BigInt(id), true);
  view.setUint16(8, PageFlag.Meta, true);
  const at = pageHeaderBytes;
  view.setUint32(at, magic, true);
  view.setUint32(at + 4, version, true);
  view.setUint32(at + 8, meta.pageBytes, true);
  view.setUint32(at + 12, 0, true);
  view.setBigUint64(at + 16, BigInt(meta.root), true);
  view.setBigUint64(at + 24, 0n, true);
  view.setBigUint64(at + 32, meta.freeList === null ? noFreeList : BigInt(meta.freeList), true);
  view.setBigUint64(at + 40, BigInt(meta.highWater), true);
  view.setBigUint64(at + 48, meta.txid, true);
  view.setBigUint64(at + 56, checksum(page.subarray(at, at + metaBytes - 8)), true);
}

/** Reads a page that should be a meta page; undefined when it is not a sound one. */
export function readMeta(page: Uint8Array): Meta | undefined {
  if (page.length < pageHeaderBytes + metaBytes) return undefined;
  const view = new DataView(page.buffer, page.byteOffset, page.byteLength);
  const at = pageHeaderBytes;
  if (view.getUint32(at, true) !== magic || view.getUint32(at + 4, true) !== version) return undefined;
  if (view.getBigUint64(at + 56, true) !== checksum(page.subarray(at, at + metaBytes - 8))) return undefined;
  const size = view.getUint32(at + 8, true);
  if (size < pageBytesMin || size > pageBytesMax || (size & (size - 1)) !== 0) return undefined;
  const freeList = view.getBigUint64(at + 32, true);
  return {
    pageBytes: size,
    root: readPageNumber(view, at + 16),
    freeList: freeList === noFreeList ? null : readPageNumber(view, at + 32),
    highWater: readPageNumber(view, at + 40),
    txid: view.getBigUint64(at + 48, true),
  };
}

/** A page number at `at`; beyond 2^53 it is none. */
export function readPageNumber(view: DataView, at: number): number {
  const value = view.getUint32(at + 4, true) * 0x1_0000_0000 + view.getUint32(at, true);
  if (!Number.isSafeInteger(value)) throw new BoltError("pointer", `${value} is no page's number`);
  return value;
}

/** Writes a page number as u64. */
export function writePageNumber(view: DataView, at: number, value: number): void {
  view.setUint32(at, value % 0x1_0000_0000, true);
  view.setUint32(at + 4, Math.floor(value / 0x1_0000_0000), true);
}

/** Pages that hold so many bytes. */
export function pagesFor(bytes: number): number {
  return Math.ceil(bytes / pageBytes);
}
