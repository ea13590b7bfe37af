/**
 * From a line of a bundle back to the source's, for log lines and stacks. The bundle `x.js` has a table `x.js.lines`
 * beside it, made by scripts/bundle.ts; code that runs without a bundle has none and is named as it was compiled.
 *
 * The engine's own source maps would cost a start 30 ms and each thread some MiB, for the few lines that are asked for.
 */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

/** A line of a source, counted from 1. */
export interface LinePlace {
  /** Below the package's folder: "src/raft/log.ts". */
  readonly file: string;
  readonly line: number;
}

/** Runs of lines that follow each other in bundle and source alike. */
export interface LineTable {
  readonly files: readonly string[];
  /** Three numbers a run, by rising first ones: its first line in the bundle, a place in `files`, its line there. */
  readonly runs: readonly number[];
}

/** The table of a bundle whose line i + 1 is `places[i]`; null: no source's, it counts to what stands before it. */
export function lineTable(places: readonly (LinePlace | null)[]): LineTable {
  const files: string[] = [];
  const runs: number[] = [];
  let next: LinePlace | null = null;
  for (const [i, place] of places.entries()) {
    const isNew = place !== null && (place.file !== next?.file || place.line !== next.line);
    if (isNew) {
      if (!files.includes(place.file)) files.push(place.file);
      runs.push(i + 1, files.indexOf(place.file), place.line);
    }
    next = place ?? next;
    if (next !== null) next = { file: next.file, line: next.line + 1 };
  }
  return { files, runs };
}

/** The source's place of a line of the bundle; null: before the first run. */
export function findLine({ files, runs }: LineTable, line: number): LinePlace | null {
  let [low, high] = [0, runs.length / 3];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (runs[middle * 3]! <= line) low = middle + 1;
    else high = middle;
  }
  if (low === 0) return null;
  const [first, file, sourceLine] = runs.slice((low - 1) * 3, low * 3) as [number, number, number];
  return { file: files[file]!, line: sourceLine + line - first };
}

const tables = new Map<string, LineTable | null>();

function tableOf(path: string): LineTable | null {
  const known = tables.get(path);
  if (known !== undefined) return known;
  let table: LineTable | null = null;
  try {
    table = JSON.parse(readFileSync(`${path}.lines`, "utf8")) as LineTable;
  } catch {
    // No bundle: the code's own place is the best there is.
  }
  tables.set(path, table);
  return table;
}

/** The source of a line of running code, whose file is a path or a file: URL. */
export function sourcePlace(file: string, line: number): LinePlace {
  const path = file.startsWith("file:") ? fileURLToPath(file) : file;
  const table = tableOf(path);
  return (table === null ? null : findLine(table, line)) ?? { file: path, line };
}

/** A stack with the sources' places. */
export function sourceStack(stack: string): string {
  return stack.replace(
    /(?<=[\s(])(file:\/\/[^\s()]+|\/[^\s()]+):(\d+):\d+(?=\)?$)/gm,
    (_, file: string, line: string) => {
      const place = sourcePlace(file, Number(line));
      return `${place.file}:${place.line}`;
    },
  );
}
