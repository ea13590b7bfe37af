/**
 * Writes a bbolt file from its first byte to its last, from buckets that can be read twice: the first meta page names
 * the root and the number of pages, so all is sized before anything is written. Memory does not grow with the file.
 *
 *   const layout = drive(sizeBuckets(sources));          // or step by step
 *   const output = new PageOutput();
 *   for (const _ of writeBuckets(sources, layout, output, 1 << 20)) { send output.bytes[0, length); output.drop(…); }
 *   send what is left in output;                         // layout.fileBytes in all
 *
 * Order of pages: two metas, the free list if it is stored, each bucket's tree in order of name, the tree of buckets.
 */
import { assert } from "../base/index.js";
import {
  bucketFlag,
  bucketHeaderBytes,
  inlineBytesMax,
  pageBytes,
  PageFlag,
  pageHeaderBytes,
  writeMeta,
  writePageNumber,
} from "./format.js";
import { PageBuilder } from "./page-builder.js";
import type { PageOutput } from "./page-output.js";
import { TreeSizer } from "./tree-sizer.js";
import { TreeWriter } from "./tree-writer.js";

/** Stands on one entry after another; the arrays are valid until the next call. */
export interface EntryCursor {
  /** Moves to the next entry; false at the end. */
  next(): boolean;
  readonly key: Uint8Array;
  readonly value: Uint8Array;
  /** Their lengths, for the sizing pass. */
  readonly keyLength: number;
  readonly valueLength: number;
  /** Ends the reading, at the end or before. */
  close(): void;
}

/** A bucket to write: each `open` gives the same entries, in order of key. */
export interface BucketSource {
  readonly name: Uint8Array;
  open(): EntryCursor;
}

export interface BoltWriterOptions {
  /** Store an empty free list, as bbolt does by default; etcd does not. */
  readonly freeList?: boolean;
  /** Transaction ID of the file's newest meta page; at least 1. */
  readonly txid?: bigint;
}

/** What the sizing pass has found. */
export interface BoltLayout {
  readonly fileBytes: number;
  /** Entries of all buckets. */
  readonly entries: number;
  readonly options: BoltWriterOptions;
  /** In order of name; `inline`: its one page lies in the value. */
  readonly buckets: readonly { readonly inline: boolean; readonly pages: number }[];
  readonly rootPage: number;
}

/** Entries between two steps of the sizing pass. */
const entriesAStep = 1024;

/** Sizes the buckets, which are given in order of name. Each step is short. */
export function* sizeBuckets(
  sources: readonly BucketSource[],
  options: BoltWriterOptions = {},
): Generator<undefined, BoltLayout> {
  const buckets: { inline: boolean; pages: number }[] = [];
  const root = new TreeSizer();
  let pages = 2 + (options.freeList === true ? 1 : 0);
  let entries = 0;
  for (const source of sources) {
    const sizer = new TreeSizer();
    yield* sizeBucket(source, sizer);
    const { leafBytes } = sizer;
    const inline = leafBytes <= inlineBytesMax;
    sizer.finish();
    buckets.push({ inline, pages: inline ? 0 : sizer.pages });
    root.add(source.name.length, bucketHeaderBytes + (inline ? leafBytes : 0));
    entries += sizer.entries;
    pages += inline ? 0 : sizer.pages;
  }
  root.finish();
  pages += root.pages;
  return { fileBytes: pages * pageBytes, entries, options, buckets, rootPage: pages - root.rootPages };
}

function* sizeBucket(source: BucketSource, sizer: TreeSizer): Generator<undefined, void> {
  const cursor = source.open();
  try {
    while (cursor.next()) {
      sizer.add(cursor.keyLength, cursor.valueLength);
      if (sizer.entries % entriesAStep === 0) yield;
    }
  } finally {
    cursor.close();
  }
}

/**
 * Writes the file into `output`, which the caller empties; a step ends when `stepBytes` have gathered or so many
 * entries were read. What is in `output` at the end is the file's rest.
 */
export function* writeBuckets(
  sources: readonly BucketSource[],
  layout: BoltLayout,
  output: PageOutput,
  stepBytes: number,
): Generator<undefined, void> {
  writeHead(layout, output);
  const root = new TreeWriter(output);
  for (const [i, source] of sources.entries()) {
    const value = layout.buckets[i]!.inline
      ? yield* inlineBucket(source)
      : yield* treeBucket(source, output, stepBytes);
    root.add(bucketFlag, source.name, value);
  }
  root.finish();
  assert(root.rootPage === layout.rootPage, "bolt: the root is not where the sizing pass has found it");
  assert(
    output.nextPage * pageBytes === layout.fileBytes,
    "bolt: the file is not as long as the sizing pass has found it",
  );
}

function writeHead({ options, rootPage, fileBytes }: BoltLayout, output: PageOutput): void {
  const { freeList = false, txid = 1n } = options;
  const meta = { pageBytes, root: rootPage, freeList: freeList ? 2 : null, highWater: fileBytes / pageBytes };
  const at = output.take(2);
  writeMeta(output.bytes.subarray(at, at + pageBytes), 0, { ...meta, txid });
  writeMeta(output.bytes.subarray(at + pageBytes, at + 2 * pageBytes), 1, { ...meta, txid: txid - 1n });
  if (!freeList) return;
  const page = output.take(1);
  const view = new DataView(output.bytes.buffer, page, pageHeaderBytes);
  writePageNumber(view, 0, 2);
  view.setUint16(8, PageFlag.FreeList, true);
}

/** The value of a bucket whose only page lies in it. */
function* inlineBucket(source: BucketSource): Generator<undefined, Uint8Array> {
  const page = new PageBuilder(PageFlag.Leaf);
  const cursor = source.open();
  try {
    while (cursor.next()) page.add(0, cursor.key, cursor.value);
  } finally {
    cursor.close();
  }
  const value = new Uint8Array(bucketHeaderBytes + page.bytes);
  page.write(value, bucketHeaderBytes, 0, 0);
  yield;
  return value;
}

/** Writes a bucket's tree; returns the bucket's value. */
function* treeBucket(source: BucketSource, output: PageOutput, stepBytes: number): Generator<undefined, Uint8Array> {
  const tree = new TreeWriter(output);
  const cursor = source.open();
  let entries = 0;
  try {
    while (cursor.next()) {
      tree.add(0, cursor.key, cursor.value);
      if (output.length >= stepBytes || ++entries % entriesAStep === 0) yield;
    }
  } finally {
    cursor.close();
  }
  tree.finish();
  const value = new Uint8Array(bucketHeaderBytes);
  writePageNumber(new DataView(value.buffer), 0, tree.rootPage);
  return value;
}
