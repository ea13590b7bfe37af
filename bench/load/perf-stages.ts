/**
 * Where the threads' time goes, by stage, from `perf record -g` of a server started with --perf-basic-prof.
 * A sample belongs to the first rule of its thread that a frame matches, the innermost frame first.
 */
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";

/** Samples of one thread by stage. */
export interface ThreadStages {
  readonly id: number;
  readonly samples: number;
  readonly stages: ReadonlyMap<string, number>;
}

interface Rule {
  readonly stage: string;
  readonly pattern: RegExp;
}

const rule = (stage: string, pattern: RegExp): Rule => ({ stage, pattern });

const sleeping = "sleeping, being woken, event loop";
const waking = rule("waking another thread", /napi_call_threadsafe_function|eventfd_write|uv_async_send/);

/** Of threads without JavaScript. */
const nativeRules: readonly Rule[] = [
  waking,
  rule("disk: sync", /ext4_sync_file|do_fsync|fdatasync|msync/),
  rule("disk: write", /pwrite|writev \(|vfs_writev|__GI___writev/),
  rule("LMDB's tree", /mdb_|WriteWorker/),
  rule("sockets: send", /sys_sendto|sock_sendmsg|__send /),
  rule("sockets: receive", /sys_recvfrom|__libc_recv/),
  rule(sleeping, /epoll_wait|epoll_pwait|futex|pthread_cond/),
  rule("own code", /etcd_core::|etcd_addon|etcd-ts-native/),
  rule("garbage collection, compiling", /v8::/),
];

/** Of threads with JavaScript: what V8 and libuv do for it. */
const engineRules: readonly Rule[] = [rule("garbage collection", /Heap::CollectGarbage|Scavenger|MarkCompact/), waking];

/** By the source file of the innermost JavaScript frame: natives count for who calls them. */
const folderRules: readonly Rule[] = [
  rule("dispatch and check calls", /src\/api\/|src\/proto\//),
  rule("edge: drain", /src\/native\/(edge|call-batch)/),
  rule("replies: write and hand over", /src\/native\/reply-batch|src\/apply\/response/),
  rule("mailboxes", /src\/native\/mailbox|src\/apply\/messages|src\/server\/apply-client/),
  rule("WAL: records and hand over", /src\/storage\/wal|src\/native\/wal/),
  rule("Raft", /src\/raft\//),
  rule("proposals, waiters, Ready loop", /src\/server\//),
  rule("apply: entries and requests", /src\/apply\//),
  rule("key index", /src\/storage\/mvcc\/key-index/),
  rule("MVCC store and records", /src\/storage\/mvcc\//),
  rule("backend: segments, commits", /src\/storage\/backend\/|node_modules\/lmdb/),
  rule("metrics", /src\/metrics\//),
];

const scriptFrame = /^\t\s*[0-9a-f]+ (.*)$/;

/** Reads perf.data through `perf script`. */
export async function readStages(perfData: string): Promise<ThreadStages[]> {
  const child = spawn("perf", ["script", "-i", perfData, "-F", "tid,ip,sym,dso"], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  let said = "";
  child.stderr.on("data", (chunk: Buffer) => (said += chunk.toString()));
  const ended = new Promise<number | null>((resolve) => child.once("close", resolve));
  const threads = new Map<number, { samples: number; stages: Map<string, number> }>();
  let id = 0;
  let frames: string[] = [];
  const note = (): void => {
    if (frames.length === 0) return;
    const thread = threads.get(id) ?? { samples: 0, stages: new Map<string, number>() };
    threads.set(id, thread);
    const stage = stageOf(frames);
    thread.samples++;
    thread.stages.set(stage, (thread.stages.get(stage) ?? 0) + 1);
    frames = [];
  };
  for await (const line of createInterface({ input: child.stdout })) {
    const frame = scriptFrame.exec(line);
    if (frame !== null) frames.push(frame[1]!);
    else if (line.trim() === "") note();
    else id = Number(/\d+/.exec(line)?.[0] ?? 0);
  }
  note();
  const code = await ended;
  if (code !== 0 || threads.size === 0) throw new Error(`perf script ended with ${code}: ${said}`);
  return [...threads].map(([thread, { samples, stages }]) => ({ id: thread, samples, stages }));
}

/** Innermost frame first. */
function stageOf(frames: readonly string[]): string {
  const isJs = frames.some((frame) => frame.includes("JSEntry") || frame.includes("SpinEventLoop"));
  if (!isJs) return firstMatch(frames, nativeRules) ?? "other";
  const engine = firstMatch(frames, engineRules);
  if (engine !== undefined) return engine;
  return firstMatch(frames, folderRules) ?? sleeping;
}

function firstMatch(frames: readonly string[], rules: readonly Rule[]): string | undefined {
  for (const frame of frames) {
    for (const { stage, pattern } of rules) if (pattern.test(frame)) return stage;
  }
  return undefined;
}
