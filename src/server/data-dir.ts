/**
 * The data folder: what is in it, who may use it, and when it must be refused.
 *
 *   <data-dir>/member/            0700
 *   <data-dir>/member/lock        held (flock) while a process uses the folder
 *   <data-dir>/member/bootstrap   there from the first step of a bootstrap to its last: nothing has been
 *                                 acknowledged yet, so what it left may be made anew
 *   <data-dir>/member/db/         LMDB, and `pair`: the ID that the log it belongs to has in its metadata
 *   <data-dir>/member/db.rebuild/ another database on its way to take that one's place
 *   <data-dir>/member/snap/       snapshots received from other members, until they are installed
 *   <wal-dir> or member/wal/      log segments
 *
 * Anything else that already holds data is refused with what to do about it; it is never bootstrapped over.
 */
import {
  closeSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeSync,
} from "node:fs";
import { dirname, join, resolve } from "node:path";
import type { Logger } from "../base/index.js";
import { DirLock } from "../native/index.js";
import { environmentExists } from "../storage/backend/index.js";
import { Wal } from "../storage/wal/index.js";
import { DataDirError, filesIn, refuseUnusable, type DataPlaces } from "./data-access.js";

/** In the database's folder. */
const pairFile = "pair";

/** Where a member keeps what. */
export interface MemberPaths {
  readonly memberDir: string;
  readonly dbDir: string;
  readonly snapDir: string;
  readonly walDir: string;
  readonly lockFile: string;
  readonly bootstrapMark: string;
}

/** Paths below `dataDir`; `walDir` is "" or a folder of its own. */
export function memberPaths(dataDir: string, walDir: string): MemberPaths {
  const memberDir = join(dataDir, "member");
  return {
    memberDir,
    dbDir: join(memberDir, "db"),
    snapDir: join(memberDir, "snap"),
    walDir: walDir === "" ? join(memberDir, "wal") : walDir,
    lockFile: join(memberDir, "lock"),
    bootstrapMark: join(memberDir, "bootstrap"),
  };
}

/** The locks that keep other processes off; released at the end of the process at the latest. */
export interface HeldDataDir {
  readonly paths: MemberPaths;
  /** Whether the member has yet to be bootstrapped here. */
  readonly fresh: boolean;
  release(): void;
}

/** Makes or checks the folders and takes their locks. Throws DataDirError. */
export function holdDataDir(dataDir: string, walDir: string, logger: Logger): HeldDataDir {
  const paths = memberPaths(dataDir, walDir);
  refuseUnusable(placesOf(dataDir, paths));
  makePrivateDir(dataDir, logger);
  refuseForeign(dataDir, paths);
  makePrivateDir(paths.memberDir, logger);
  const locks: DirLock[] = [];
  const release = (): void => locks.forEach((held) => held.release());
  try {
    locks.push(lock(paths.lockFile, dataDir));
    if (walDir !== "") {
      makePrivateDir(walDir, logger);
      locks.push(lock(join(walDir, "lock"), walDir));
    }
    return { paths, fresh: inspect(dataDir, paths), release };
  } catch (error) {
    release();
    throw error;
  }
}

/** All that a member opens for writing, now or later. */
function placesOf(
  dataDir: string,
  { memberDir, dbDir, snapDir, walDir, lockFile, bootstrapMark }: MemberPaths,
): DataPlaces {
  return {
    folders: [dataDir, memberDir, walDir, dbDir, snapDir],
    files: () => [
      lockFile,
      bootstrapMark,
      join(walDir, "lock"),
      ...filesIn(walDir, /\.(seg|tmp)$/),
      ...["data.mdb", "lock.mdb", pairFile].map((name) => join(dbDir, name)),
    ],
  };
}

/** Bytes of a pair ID. */
export const pairIdBytes = 16;

/** Notes in the database's folder which log it belongs to. */
export function writePairId(paths: MemberPaths, id: Uint8Array): void {
  writeDurably(join(paths.dbDir, pairFile), Buffer.from(id).toString("hex"));
}

/**
 * Refuses a log and a database of two members, before anything is written to either: their indexes may fit, and their
 * member IDs be equal, as those of all members started with default flags are. Throws DataDirError.
 */
export function checkPairId(paths: MemberPaths, id: Uint8Array): void {
  const path = join(paths.dbDir, pairFile);
  const found = existsSync(path) ? readFileSync(path, "utf8") : "";
  if (found === Buffer.from(id).toString("hex")) return;
  throw new DataDirError(
    `the log in ${paths.walDir} and the database in ${paths.dbDir} belong to different members: ` +
      `${path} does not name this log. Check --data-dir and --wal-dir. Nothing was changed.`,
  );
}

/** Marks the start of a bootstrap, so that one cut short can be told from a damaged member. */
export function beginBootstrap(paths: MemberPaths): void {
  writeDurably(paths.bootstrapMark, resolve(paths.walDir));
}

/** The bootstrap is durable: from now on both halves must be there. */
export function endBootstrap(paths: MemberPaths): void {
  syncDir(paths.memberDir);
  rmSync(paths.bootstrapMark);
  syncDir(paths.memberDir);
}

function inspect(dataDir: string, paths: MemberPaths): boolean {
  const hasWal = Wal.exists(paths.walDir);
  const hasDb = environmentExists(paths.dbDir);
  if (existsSync(paths.bootstrapMark)) {
    refuseOtherWal(paths);
    // Cut short before it served anyone: nothing in it can be missed.
    rmSync(paths.dbDir, { recursive: true, force: true });
    Wal.removeAll(paths.walDir);
    return true;
  }
  if (hasWal === hasDb) return !hasWal;
  const [there, missing] = hasWal ? [paths.walDir, paths.dbDir] : [paths.dbDir, paths.walDir];
  throw new DataDirError(
    `the data folder ${dataDir} is incomplete: ${there} is there but ${missing} is missing. ` +
      `Put the missing half back (check --data-dir and --wal-dir), or, if this member can be rebuilt from its cluster ` +
      `or from a snapshot, move ${dataDir} away and add the member again. Nothing was changed.`,
  );
}

/** A real etcd keeps a bbolt file at member/snap/db and segments named <16 hex>-<16 hex>.wal. */
function refuseForeign(dataDir: string, paths: MemberPaths): void {
  const bolt = join(paths.memberDir, "snap", "db");
  const etcdSegment =
    existsSync(paths.walDir) && readdirSync(paths.walDir).find((name) => /^[0-9a-f]{16}-[0-9a-f]{16}\.wal$/.test(name));
  if (!existsSync(bolt) && !etcdSegment) return;
  throw new DataDirError(
    `${dataDir} holds the data of an etcd member (${existsSync(bolt) ? bolt : join(paths.walDir, String(etcdSegment))}), ` +
      `which this server does not take over in place. Start it with an empty --data-dir; to bring the data along, save a snapshot ` +
      `of that etcd and restore it. Nothing was changed.`,
  );
}

function lock(path: string, dir: string): DirLock {
  const held = DirLock.acquire(path);
  if (held.held) return held;
  throw new DataDirError(
    `${dir} is in use by another process (it holds the lock ${path}). Stop that process first, or choose another --data-dir.`,
  );
}

/** A bootstrap that was cut short may be undone where it was begun, but no log elsewhere is touched for it. */
function refuseOtherWal(paths: MemberPaths): void {
  const begun = readFileSync(paths.bootstrapMark, "utf8");
  if (begun === "" || begun === resolve(paths.walDir)) return;
  throw new DataDirError(
    `the first start in ${paths.memberDir} was cut short when its log was to be in ${begun}, not in ${paths.walDir}: ` +
      `start it with that --wal-dir, or remove ${paths.memberDir}, which holds nothing yet. Nothing was changed.`,
  );
}

function writeDurably(path: string, text: string): void {
  const fd = openSync(path, "w", 0o600);
  try {
    writeSync(fd, text);
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
  syncDir(dirname(path));
}

function makePrivateDir(path: string, logger: Logger): void {
  if (!existsSync(path)) {
    const first = mkdirSync(path, { recursive: true, mode: 0o700 }) ?? path;
    for (let made = resolve(path); made.length >= resolve(first).length; made = dirname(made)) syncDir(dirname(made));
    return;
  }
  const { mode } = statSync(path);
  if ((mode & 0o777) === 0o700) return;
  logger.warn("check file permission", {
    error: `directory "${path}" exist, but the permission is "${modeText(mode)}". The recommended permission is "-rwx------" to prevent possible unprivileged access to the data`,
  });
}

/** A folder's mode as `ls` and etcd show it. */
function modeText(mode: number): string {
  return `d${Array.from("rwxrwxrwx", (letter, i) => ((mode & (0o400 >> i)) === 0 ? "-" : letter)).join("")}`;
}

function syncDir(path: string): void {
  const fd = openSync(path, "r");
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}
