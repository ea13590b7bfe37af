/** What the tests of rebuilds write, and, run as a program, a member's store that is killed in the midst of one. */
import assert from "node:assert/strict";
import { pathToFileURL } from "node:url";
import { LmdbBackend, lmdbBackendDefaults, type Backend } from "../backend/index.js";
import { RebuildThread } from "./rebuild-thread.js";

export const crashEntries = 2000;
export const crashEntryBytes = 2000;
/** What is there before a snapshot is installed. */
export const oldEntries = 100;

/** Entry `index`: a record or two, a change of a small bucket. */
export function applyEntry(backend: Backend, index: number, bytes: number): void {
  for (let sub = 0; sub <= index % 2; sub++) {
    const at = backend.beginRecord(index + 1, sub, index % 7 === 0, bytes);
    backend.recordBlock.fill(index, at, at + bytes);
    backend.endRecord(at + bytes);
  }
  const key = Buffer.from(`lease ${index % 50}`);
  if (index % 5 === 0) backend.delete("lease", key);
  else backend.put("lease", key, Buffer.from(`value ${index}`));
  backend.endEntry(index, 1);
}

/** The process of a crash test: writes, defragments (or installs `file`), and ends by SIGKILL at a point. */
async function crash(point: string, directory: string, file: string | undefined): Promise<void> {
  const backend = LmdbBackend.open({
    ...lmdbBackendDefaults,
    directory,
    onFatal: (error) => assert.fail(error),
    startRebuild: (init) => {
      let settle: { resolve: () => void; reject: (error: Error) => void };
      const thread = new RebuildThread(init, {
        post: (answer) => (answer.type === "done" ? settle.resolve() : settle.reject(new Error(answer.message))),
        sleep: (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds)),
        at: (reached) => reached === point && process.kill(process.pid, "SIGKILL"),
      });
      const ask = (message: Parameters<RebuildThread["handle"]>[0]): Promise<void> =>
        new Promise((resolve, reject) => {
          settle = { resolve, reject };
          void thread.handle(message);
        });
      return {
        copy: () => ask({ type: "copy" }),
        finish: () => ask({ type: "finish" }),
        build: (file) => ask({ type: "build", file }),
        replace: () => ask({ type: "replace" }),
        cancel: () => void thread.handle({ type: "cancel" }),
        end: () => ask({ type: "end" }),
      };
    },
  });
  const entries = file === undefined ? crashEntries : oldEntries;
  for (let index = 1; index <= entries; index++) applyEntry(backend, index, crashEntryBytes);
  await backend.flush();
  process.stdout.write("flushed\n");
  if (file === undefined) await backend.defragment();
  else await backend.finishInstall(await backend.beginInstall(file), () => {});
  assert.fail(`never came to ${point}`);
}

const [, program, point, directory, file] = process.argv;
if (import.meta.url === pathToFileURL(program!).href) await crash(point!, directory!, file);
