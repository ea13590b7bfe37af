/**
 * The environment's folder before lmdb opens it. A file that LMDB refuses ends the process within lmdb
 * 3.5.6 (it frees the refused environment and goes on with it), so it is found here, by name. A page that
 * is missing at the end would end the process when it is touched (SIGBUS): a file whose roots are missing
 * is refused, else the end is filled with zeros, which LMDB refuses when it meets them. (LMDB's last page
 * may rightly lie behind the file's end: pages taken and given back in one transaction are not written.)
 * A new environment is made under another name and renamed: a file that is there has whole meta pages.
 */
import {
  closeSync,
  existsSync,
  fstatSync,
  fsyncSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readSync,
  renameSync,
  rmSync,
  statSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { environmentFault } from "../../native/index.js";

const dataFile = "data.mdb";
const lockFile = "lock.mdb";
const makingSuffix = ".making";
/** Of the folder in which a new environment is built, to take the place of the present one. */
const rebuildSuffix = ".rebuild";

// Where the fields of a meta page are (struct MDB_page_header, then struct MDB_meta).
const pageFlagsAt = 18;
const metaPageFlag = 0x08;
const magicAt = 24;
const magic = 0xbeefc0de;
const versionAt = 28;
const version = 2;
const pageSizeAt = 48;
const freeRootAt = 88;
const mainRootAt = 136;
const lastPageAt = 144;
const noPage = 0xffff_ffff_ffff_ffffn;
const metaBytes = 160;
const pageSizeMin = 512;
const pageSizeMax = 65_536;

/** Flushes a file or a folder. */
function sync(path: string): void {
  const fd = openSync(path, "r");
  fsyncSync(fd);
  closeSync(fd);
}

/** Makes a folder and its parents so that they outlive a power cut. */
function makeFolder(path: string): void {
  const first = mkdirSync(path, { recursive: true, mode: 0o700 });
  if (first === undefined) return;
  for (let folder = path; ; folder = dirname(folder)) {
    sync(dirname(folder));
    if (folder === first) return;
  }
}

function readMeta(fd: number, at: number): DataView {
  const bytes = new Uint8Array(metaBytes);
  readSync(fd, bytes, 0, metaBytes, at);
  return new DataView(bytes.buffer);
}

/** What is wrong with an LMDB file, or undefined; then its end is filled up. */
function faultOf(path: string, fd: number): string | undefined {
  const size = fstatSync(fd).size;
  const meta = readMeta(fd, 0);
  if (meta.getUint32(magicAt, true) !== magic || (meta.getUint16(pageFlagsAt, true) & metaPageFlag) === 0) {
    return "it is not an LMDB file";
  }
  if ((meta.getUint32(versionAt, true) & 0xffff) !== version) return "it is of another version of LMDB";
  const pageSize = meta.getUint32(pageSizeAt, true);
  if (pageSize < pageSizeMin || pageSize > pageSizeMax) return `its page size is ${pageSize}`;
  // The flushed meta page, at which the file will open, is in the first page's second half.
  const flushed = readMeta(fd, pageSize >> 1);
  const pages = [1n, pageOf(flushed, freeRootAt), pageOf(flushed, mainRootAt)];
  if (pages.some((page) => page >= size / pageSize)) return `it is cut short, to ${size} bytes`;
  const whole = (Number(flushed.getBigUint64(lastPageAt, true)) + 1) * pageSize;
  const fault = environmentFault(path);
  if (fault !== null) return fault;
  if (size < whole) ftruncateSync(fd, whole);
  return undefined;
}

/** A page's number; 0 when the tree is empty. */
function pageOf(meta: DataView, at: number): bigint {
  const page = meta.getBigUint64(at, true);
  return page === noPage ? 0n : page;
}

/** To an operator whose member does not start. */
const advice =
  "Nothing was changed. Replace this member (member remove, member add with an empty data folder), or restore a snapshot";

/** Throws when the folder's file is not one that LMDB can open. */
function check(directory: string): void {
  const path = join(directory, dataFile);
  const fd = openSync(path, "r+");
  const fault = faultOf(path, fd);
  closeSync(fd);
  if (fault !== undefined) throw new Error(`backend: ${path} cannot be opened: ${fault}. ${advice}`);
}

/** Whether `directory` holds an environment, sound or not. */
export function environmentExists(directory: string): boolean {
  return existsSync(join(directory, dataFile));
}

/** Tells one environment file from another at the same place. */
export function environmentIdentity(directory: string): string {
  const { dev, ino } = statSync(join(directory, dataFile), { bigint: true });
  return `${dev}:${ino}`;
}

/** Where the environment that is to replace the one in `directory` is built. */
export function rebuildDirectory(directory: string): string {
  return directory + rebuildSuffix;
}

/** Removes what a rebuild has left, or one that was cut short. */
export function removeRebuild(directory: string): void {
  rmSync(rebuildDirectory(directory), { recursive: true, force: true });
  rmSync(rebuildDirectory(directory) + makingSuffix, { recursive: true, force: true });
}

/**
 * Lets the environment that was rebuilt take the place of the one in `directory`. It must be flushed, and the old one
 * not be written any more; both may be open, and stay what they are to whoever has them open. Only the file's own
 * rename counts: LMDB makes the lock file anew when nobody has the environment open.
 */
export function replaceEnvironment(directory: string): void {
  const rebuilt = rebuildDirectory(directory);
  renameSync(join(rebuilt, dataFile), join(directory, dataFile));
  renameSync(join(rebuilt, lockFile), join(directory, lockFile));
  sync(directory);
}

/**
 * Sees to it that `directory` holds a sound environment; `make` opens and closes a new one in the folder it
 * is given. Called before any thread has the environment open.
 */
export function prepareEnvironment(directory: string, make: (directory: string) => void): void {
  const making = directory + makingSuffix;
  rmSync(making, { recursive: true, force: true });
  removeRebuild(directory);
  if (!environmentExists(directory)) {
    makeFolder(making);
    make(making);
    sync(join(making, dataFile));
    sync(making);
    renameSync(making, directory);
    sync(dirname(directory));
  }
  check(directory);
}
