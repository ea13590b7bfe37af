/** Defragment calls: one after another, without compaction meanwhile, each with its answer. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { silentLogger, type Logger } from "../base/index.js";
import { Registry } from "../metrics/index.js";
import { MemoryBackend } from "../storage/backend/index.js";
import type { FromApply } from "./control.js";
import { defragmentAtStart, Defragmenter, type DefragmentOptions } from "./defragmenter.js";
import { ApplyMetrics } from "./metrics.js";
import { OneAtATime } from "./one-at-a-time.js";

/** One whose defragmentations end when the test says so. */
class SlowBackend extends MemoryBackend {
  readonly running: { end: () => void; fail: (error: Error) => void }[] = [];
  begun = 0;

  override sizes(): { total: number; inUse: number } {
    return { total: 10_000, inUse: 4000 };
  }

  override defragment(): Promise<void> {
    this.begun++;
    return new Promise((end, fail) => this.running.push({ end, fail }));
  }
}

class Rig {
  readonly backend = new SlowBackend();
  readonly posts: string[] = [];
  readonly lines: string[] = [];
  readonly registry = new Registry();
  readonly metrics = new ApplyMetrics(this.registry);
  readonly rebuilds = new OneAtATime();
  /** How often compaction is held at the moment. */
  holds = 0;
  readonly subject: Defragmenter;

  constructor() {
    this.subject = new Defragmenter({
      ...this.options(),
      compactor: {
        withoutCompaction: async <T>(work: () => Promise<T>): Promise<T> => {
          this.holds++;
          return work().finally(() => this.holds--);
        },
      },
      rebuilds: this.rebuilds,
      tellProgress: () => this.posts.push("progress"),
      post: (message: FromApply) => {
        if (message.type === "defragmented") this.posts.push(`${message.callId}: ${message.failure ?? "done"}`);
        else this.posts.push(message.type);
      },
    });
  }

  options(): DefragmentOptions {
    const note = (line: string): void => void this.lines.push(line);
    const logger: Logger = { ...silentLogger, info: note, warn: note };
    let time = 0;
    const clock = { now: () => (time += 250) };
    return { backend: this.backend, metrics: this.metrics, clock, logger, path: "/db" };
  }

  metric(name: string): string | undefined {
    return new RegExp(`^${name} (.*)$`, "m").exec(this.registry.text())?.[1];
  }
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

const seconds = "etcd_disk_backend_defrag_duration_seconds";
const inflight = "etcd_disk_defrag_inflight";

test("one after another while compaction is held; one that fails is answered so, and the next begins", async () => {
  const rig = new Rig();
  for (const callId of [1, 2]) assert.ok(rig.subject.ask(callId));
  await turn();
  assert.deepEqual([rig.backend.begun, rig.holds, rig.metric(inflight)], [1, 1, "1"]);
  rig.backend.running[0]!.fail(new Error("no room"));
  await turn();
  assert.deepEqual([rig.backend.begun, rig.holds, rig.metric(`${seconds}_count`)], [2, 1, "0"]);
  rig.backend.running[1]!.end();
  await turn();
  assert.deepEqual(rig.posts, ["defragmenting", "progress", "1: no room", "defragmenting", "progress", "2: done"]);
  assert.deepEqual([rig.holds, rig.metric(inflight)], [0, "0"]);
  assert.deepEqual([rig.metric(`${seconds}_count`), rig.metric(`${seconds}_sum`)], ["1", "0.25"]);
  assert.deepEqual(rig.lines, [
    ...["starting defragment", "defragmenting", "failed to defragment"],
    ...["starting defragment", "defragmenting", "finished defragmenting directory", "finished defragment"],
  ]);
  assert.ok(rig.subject.ask(3), "and later ones");
  await turn();
  assert.equal(rig.backend.begun, 3);
});

test("16 wait beside the one under way; a further call is refused", async () => {
  const rig = new Rig();
  const taken = Array.from({ length: 18 }, (_, i) => rig.subject.ask(i + 1));
  assert.deepEqual(taken, [...Array<boolean>(17).fill(true), false]);
});

test("none begins while a snapshot is installed", async () => {
  const rig = new Rig();
  let installed = (): void => {};
  void rig.rebuilds.run(() => new Promise<void>((resolve) => (installed = resolve)));
  rig.subject.ask(1);
  await turn();
  assert.equal(rig.backend.begun, 0);
  installed();
  await turn();
  assert.equal(rig.backend.begun, 1);
});

test("at a start it is done when it frees as much as was said, else the sizes are logged", async () => {
  const rig = new Rig();
  await defragmentAtStart(0, rig.options());
  assert.deepEqual(rig.lines, []);
  await defragmentAtStart(6001, rig.options());
  assert.deepEqual([rig.backend.begun, rig.lines], [0, ["Skipping defragmentation"]]);
  const done = defragmentAtStart(6000, rig.options());
  rig.backend.running[0]!.end();
  await done;
  assert.deepEqual(rig.lines.slice(1), ["defragmenting", "finished defragmenting directory"]);
});
