/** A store whose file goes bad while it is open: run as a program by `fault-end.test.ts`. */
import assert from "node:assert/strict";
import { closeSync, ftruncateSync, openSync, readSync, statSync, writeSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { endByNameOnFaults } from "../../native/index.js";
import { LmdbBackend, lmdbBackendDefaults } from "./index.js";

const pageBytes = 4096;
const recordCount = 3_000;
/** Meta pages: without them nothing is read at all. */
const firstPage = 2;

function append(backend: LmdbBackend, index: number): void {
  const at = backend.beginRecord(index, 0, false, 300);
  backend.recordBlock.fill(index, at, at + 300);
  backend.endRecord(at + 300);
  backend.put("lease", Buffer.from(`lease ${index % 200}`), Buffer.from(`value ${index}`));
  backend.endEntry(index, 1);
}

/** Cuts the file behind its meta pages. */
function cut(fd: number): void {
  ftruncateSync(fd, firstPage * pageBytes);
}

// Where the fields of a page are (struct MDB_page, struct MDB_node).
const flagsAt = 18;
const leafFlag = 2;
const branchFlag = 1;
const nodesAt = 24;
const keyAt = 8;

/**
 * Makes leaf pages of the records branches, but for the first one: a search would notice the first, while a cursor that
 * goes on to the next takes it for granted.
 */
function rot(fd: number, pages: number): void {
  const page = Buffer.alloc(pageBytes);
  for (let number = firstPage; number < pages; number++) {
    readSync(fd, page, 0, pageBytes, number * pageBytes);
    if (page.readUInt16LE(flagsAt) !== leafFlag) continue;
    // Offsets of nodes count from behind the header.
    const key = page.subarray(nodesAt + page.readUInt16LE(nodesAt) + keyAt);
    const firstRevision = key.readUInt32BE(0) === 0 ? key.readUInt32BE(4) : 0;
    if (firstRevision < 2 || firstRevision > recordCount) continue;
    page.writeUInt16LE(branchFlag, flagsAt);
    writeSync(fd, page, 0, pageBytes, number * pageBytes);
  }
}

function readAll(backend: LmdbBackend): number {
  let count = 0;
  const position = { main: 0, sub: 0 };
  while (backend.scanRecords(position, { records: 1_000, bytes: 1 << 20 }, { visit: () => void count++ }));
  return count + backend.entries("lease").length;
}

/** A function that reads outside its memory, which V8 notices by a SIGSEGV of its own. */
const trap = Uint8Array.of(
  ...[0, 0x61, 0x73, 0x6d, 1, 0, 0, 0, 1, 5, 1, 0x60, 0, 1, 0x7f, 3, 2, 1, 0, 5, 3, 1, 0, 1, 7, 5, 1, 1, 0x66, 0, 0],
  ...[0x0a, 0x0d, 1, 0x0b, 0, 0x41, 0xff, 0xff, 0xff, 0xff, 7, 0x28, 2, 0, 0x0b],
);

/** What Node's types leave out. */
interface WasmDoor {
  instantiate(module: Uint8Array): Promise<{ instance: { exports: Readonly<Record<string, unknown>> } }>;
  RuntimeError: new () => Error;
}

/** Faults and aborts of others: they end the process as ever, or do not. */
async function elsewhere(way: string): Promise<void> {
  const { WebAssembly } = globalThis as unknown as { WebAssembly: WasmDoor };
  const { instance } = await WebAssembly.instantiate(trap);
  const read = instance.exports["f"] as () => number;
  assert.throws(read, WebAssembly.RuntimeError);
  process.stdout.write("damaged\n");
  if (way === "SIGABRT") process.abort();
  else process.kill(process.pid, way);
}

async function run(directory: string, way: string): Promise<void> {
  endByNameOnFaults();
  const backend = LmdbBackend.open({
    ...lmdbBackendDefaults,
    directory,
    onFatal: (error) => {
      process.stderr.write(`${error.message}\n`);
      process.exit(1);
    },
  });
  for (let index = 1; index <= recordCount; index++) append(backend, index);
  await backend.flush();
  assert.equal(readAll(backend), recordCount + 200);
  const path = join(directory, "data.mdb");
  const fd = openSync(path, "r+");
  if (way.startsWith("SIG")) return elsewhere(way);
  if (way === "cut") cut(fd);
  else rot(fd, statSync(path).size / pageBytes);
  closeSync(fd);
  process.stdout.write("damaged\n");
  process.stdout.write(`read ${readAll(backend)}\n`);
}

const [, program, directory, way] = process.argv;
if (import.meta.url === pathToFileURL(program!).href) await run(directory!, way!);
