/** The functions that take most time in a thread's `--cpu-prof` profile, with their place in the sources. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { SourceMap } from "node:module";
import { join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { packageRoot } from "../../src/base/index.js";

interface CallFrame {
  readonly functionName: string;
  readonly url: string;
  readonly lineNumber: number;
  readonly columnNumber: number;
}

interface Profile {
  readonly nodes: readonly { readonly id: number; readonly callFrame: CallFrame }[];
  readonly samples: readonly number[];
  readonly timeDeltas: readonly number[];
}

export interface FunctionCost {
  readonly name: string;
  /** "src/raft/log.ts:12", or "" for the engine's own. */
  readonly place: string;
  /** Of the thread's busy time, 0 … 1. */
  readonly share: number;
}

export interface ThreadProfile {
  readonly thread: string;
  readonly busySeconds: number;
  readonly functions: readonly FunctionCost[];
}

/** Threads are told apart by the folders of their functions. */
const threadMarks: readonly { readonly thread: string; readonly file: string }[] = [
  { thread: "apply", file: "apply/apply.worker" },
  { thread: "http", file: "api/http/http.worker" },
];

/** All profiles in a folder; functions by cost, the first `count`. */
export function readProfiles(folder: string, count: number): ThreadProfile[] {
  return readdirSync(folder)
    .filter((name) => name.endsWith(".cpuprofile"))
    .map((name) => readProfile(JSON.parse(readFileSync(join(folder, name), "utf8")) as Profile, count));
}

function readProfile({ nodes, samples, timeDeltas }: Profile, count: number): ThreadProfile {
  const frames = new Map(nodes.map(({ id, callFrame }) => [id, callFrame]));
  const costs = new Map<string, { frame: CallFrame; us: number }>();
  let busyUs = 0;
  for (const [i, id] of samples.entries()) {
    const frame = frames.get(id);
    if (frame === undefined || frame.functionName === "(idle)") continue;
    const us = timeDeltas[i] ?? 0;
    const key = `${frame.functionName} ${frame.url}:${frame.lineNumber}`;
    const cost = costs.get(key) ?? { frame, us: 0 };
    cost.us += us;
    busyUs += us;
    costs.set(key, cost);
  }
  const urls = nodes.map(({ callFrame }) => callFrame.url);
  const mark = threadMarks.find(({ file }) => urls.some((url) => url.includes(file)));
  const functions = [...costs.values()]
    .sort((a, b) => b.us - a.us)
    .slice(0, count)
    .map(({ frame, us }) => ({ name: frame.functionName || "(anonymous)", place: placeOf(frame), share: us / busyUs }));
  return { thread: mark?.thread ?? "main", busySeconds: busyUs / 1e6, functions };
}

const maps = new Map<string, SourceMap | null>();

function placeOf({ url, lineNumber, columnNumber }: CallFrame): string {
  if (!url.startsWith("file://")) return url;
  const path = fileURLToPath(url);
  const entry = mapOf(path)?.findEntry(lineNumber, columnNumber);
  if (entry !== undefined && "originalSource" in entry) {
    return `${relative(packageRoot(), fileURLToPath(new URL(entry.originalSource, url)))}:${entry.originalLine + 1}`;
  }
  return `${relative(packageRoot(), path)}:${lineNumber + 1}`;
}

function mapOf(path: string): SourceMap | null {
  const known = maps.get(path);
  if (known !== undefined) return known;
  const file = `${path}.map`;
  const payload = existsSync(file)
    ? (JSON.parse(readFileSync(file, "utf8")) as ConstructorParameters<typeof SourceMap>[0])
    : null;
  const map = payload === null ? null : new SourceMap(payload);
  maps.set(path, map);
  return map;
}
