/**
 * Preloaded into a server that is profiled (node --require): gives its threads names in /proc, which Node 20 does not.
 * Workers get their file's name; the rest is told apart by when it was there: V8's helpers are before anything else, and
 * what keeps the name "node" is the main thread (by its ID) and libuv's pool.
 */
const { readdirSync, readlinkSync, writeFileSync } = process.getBuiltinModule("node:fs");
const { basename } = process.getBuiltinModule("node:path");
const { syncBuiltinESMExports } = process.getBuiltinModule("node:module");
const threads = process.getBuiltinModule("node:worker_threads");

const flag = "--thread-name=";

function nameThread(id: string, name: string): void {
  try {
    writeFileSync(`/proc/self/task/${id}/comm`, name);
  } catch {
    // It has ended.
  }
}

const ownId = (): string => basename(readlinkSync("/proc/thread-self"));

if (threads.isMainThread) {
  // A new thread inherits its maker's name, so the main thread keeps its own.
  for (const id of readdirSync("/proc/self/task")) if (id !== ownId()) nameThread(id, "v8");
  const { Worker } = threads;
  class NamedWorker extends Worker {
    constructor(file: string | URL, options: ConstructorParameters<typeof Worker>[1]) {
      const name = basename(String(file)).replace(/\.worker\.js$/, "");
      super(file, { ...options, argv: [`${flag}${name}`] });
    }
  }
  threads.Worker = NamedWorker;
  syncBuiltinESMExports();
} else {
  const name = process.argv.find((argument) => argument.startsWith(flag));
  if (name !== undefined) nameThread(ownId(), name.slice(flag.length));
}
