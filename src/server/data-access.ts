/**
 * Whether this process may use what is in a data folder. Asked before anything is made or opened, so that a member
 * that could not go on is refused at its start, with the path at fault and what to do: a log whose folder takes no
 * new file would serve until its next segment is due, and end then.
 *
 * Thread: main, at start. Changes nothing.
 */
import { accessSync, constants, lstatSync, readdirSync, statSync, type Stats } from "node:fs";
import { dirname, join, resolve } from "node:path";

/** The data folder cannot be used; the message says why and what to do. */
export class DataDirError extends Error {
  override readonly name = "DataDirError";
}

/** What is to be used; any of it may be missing. */
export interface DataPlaces {
  readonly folders: readonly string[];
  /** Asked for once the folders are known to be readable. */
  readonly files: () => readonly string[];
}

/** access(2): throws what the system says against reading, writing and, for folders, entering. */
export type Access = (path: string, mode: number) => void;

/** Files of a folder, if it is one, whose names match; in the order of their names. */
export function filesIn(folder: string, name: RegExp): string[] {
  if (!isFolder(statOf(folder))) return [];
  return asked(folder, () => readdirSync(folder).toSorted())
    .filter((each) => name.test(each))
    .map((each) => join(folder, each));
}

/** Refuses what this process may not read and write, and what is of another kind. Throws DataDirError. */
export function refuseUnusable({ folders, files }: DataPlaces, access: Access = accessSync): void {
  for (const path of folders) {
    if (statOf(path) === undefined) refuseUnmakeable(path, access);
    else checkFolder(path, access);
  }
  for (const path of files()) checkFile(path, access);
}

/** A folder that is to be made: the nearest one above it must take it. */
function refuseUnmakeable(path: string, access: Access): void {
  let above = resolve(path);
  for (; statOf(above) === undefined && dirname(above) !== above; above = dirname(above)) {
    if (isDanglingLink(above)) {
      throw new DataDirError(
        `${above} is a link to a place that does not exist. Make that folder, or choose another --data-dir or --wal-dir.`,
      );
    }
  }
  checkFolder(above, access);
}

function checkFolder(path: string, access: Access): void {
  const stat = statOf(path);
  if (!isFolder(stat)) throw new DataDirError(`${path} is not a folder. Choose another --data-dir or --wal-dir.`);
  asked(path, () => access(path, constants.R_OK | constants.W_OK | constants.X_OK), stat);
}

function checkFile(path: string, access: Access): void {
  const stat = statOf(path);
  if (stat === undefined) return;
  if (!stat.isFile()) {
    throw new DataDirError(`${path} is not a file, but this server keeps one there. Put it back, or move it away.`);
  }
  asked(path, () => access(path, constants.R_OK | constants.W_OK), stat);
}

const isFolder = (stat: Stats | undefined): boolean => stat?.isDirectory() ?? false;

/** Undefined: nothing is there. */
function statOf(path: string): Stats | undefined {
  return asked(path, () => whereThere(() => statSync(path, { throwIfNoEntry: false })));
}

/** Undefined, too, where something above is a file, which is named when its turn comes. */
function whereThere<T>(ask: () => T): T | undefined {
  try {
    return ask();
  } catch (error) {
    if (codeOf(error) === "ENOTDIR") return undefined;
    throw error;
  }
}

function isDanglingLink(path: string): boolean {
  const link = asked(path, () => whereThere(() => lstatSync(path, { throwIfNoEntry: false })));
  return link?.isSymbolicLink() ?? false;
}

const codeOf = (error: unknown): string | undefined => (error as NodeJS.ErrnoException).code;

/** What the system answers about `path`; its refusals become DataDirErrors. */
function asked<T>(path: string, ask: () => T, stat?: Stats): T {
  try {
    return ask();
  } catch (error) {
    throw new DataDirError(`${path} cannot be used: ${adviceOn(error, stat)} Nothing was changed.`);
  }
}

function adviceOn(error: unknown, stat: Stats | undefined): string {
  const code = codeOf(error);
  const user = process.getuid?.();
  switch (code) {
    case "EACCES":
    case "EPERM":
      return (
        `this process runs as user ${user} and may not read and write it` +
        `${stat === undefined ? "" : ` (its owner is user ${stat.uid}, its mode ${(stat.mode & 0o777).toString(8)})`}. ` +
        "Start the server as the owner of its data, or give all of it to that user (chown -R)."
      );
    case "EROFS":
      return "its file system is mounted read-only. Mount it for writing, or choose another --data-dir or --wal-dir.";
    default:
      return `the system says ${code ?? String(error)}. Choose another --data-dir or --wal-dir.`;
  }
}
