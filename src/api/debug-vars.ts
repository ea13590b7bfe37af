/**
 * /debug/vars: what etcd publishes by Go's expvar, in its form. Monitoring agents read `memstats` and `raft.status`
 * there. Of Go's memory statistics those are given that V8 has, too; they are of the main thread, but for Sys.
 * Thread: main.
 */
import { openFilesMax } from "../metrics/index.js";

/** The answer's text. `raftStatus` is null before there is a member. */
export function debugVars(commandLine: readonly string[], raftStatus: object | null): string {
  const { rss, heapTotal, heapUsed } = process.memoryUsage();
  const vars = {
    cmdline: commandLine,
    file_descriptor_limit: openFilesMax() ?? 0,
    memstats: { Alloc: heapUsed, Sys: rss, HeapAlloc: heapUsed, HeapSys: heapTotal, HeapInuse: heapUsed },
    "raft.status": raftStatus,
  };
  const lines = Object.entries(vars).map(([name, value]) => `${JSON.stringify(name)}: ${JSON.stringify(value)}`);
  return `{\n${lines.join(",\n")}\n}\n`;
}
