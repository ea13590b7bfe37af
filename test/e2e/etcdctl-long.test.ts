/**
 * An unmodified etcdctl's commands that go on until they are stopped, or that make IDs of their own: watches in all
 * their forms, locks, elections and leases print the same from the real etcd and from ours.
 */
import assert from "node:assert/strict";
import { spawn, type ChildProcessByStdio } from "node:child_process";
import type { Readable, Writable } from "node:stream";
import { after, before, test } from "node:test";
import { etcdBinaries, ourCommand } from "../support/index.js";
import { runProgram, startPair, type PairMember } from "./pair.js";

const cache = await etcdBinaries();
const ours = ourCommand();
const skip = cache.kind === "skipped" ? cache.reason : false;
const outputMsMax = 20_000;

let pair: Awaited<ReturnType<typeof startPair>> | null = null;

before(async () => {
  if (cache.kind === "ready") pair = await startPair(cache.binaries.etcd, ours);
});

after(async () => pair?.stop());

const etcdctl = (): string => {
  if (cache.kind === "skipped") throw new Error(cache.reason);
  return cache.binaries.etcdctl;
};

/** A command that is under way. */
class Running {
  readonly #child: ChildProcessByStdio<Writable, Readable, Readable>;
  readonly #ended: Promise<void>;
  #output = "";
  #wake = (): void => {};

  constructor(side: PairMember, args: readonly string[]) {
    this.#child = spawn(etcdctl(), [`--endpoints=${side.endpoint}`, ...args], {
      stdio: ["pipe", "pipe", "pipe"],
      env: { PATH: process.env["PATH"] ?? "" },
    });
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      stream.on("data", (chunk: Buffer) => {
        this.#output += chunk.toString();
        this.#wake();
      });
    }
    this.#child.stdin.on("error", () => {});
    this.#ended = new Promise((resolve) => this.#child.once("close", () => resolve()));
  }

  write(line: string): void {
    this.#child.stdin.write(`${line}\n`);
  }

  get output(): string {
    return masked(this.#output);
  }

  /** Returns when so many lines were printed. */
  async printed(lines: number): Promise<string> {
    const end = performance.now() + outputMsMax;
    while (this.#output.split("\n").length <= lines) {
      assert.ok(performance.now() < end, `only ${JSON.stringify(this.#output)} within ${outputMsMax} ms`);
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, 500);
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
    return this.output;
  }

  /** Ends by itself, or at a signal. */
  async end(signal?: NodeJS.Signals): Promise<string> {
    if (signal !== undefined) this.#child.kill(signal);
    await this.#ended;
    return this.output;
  }
}

/** IDs of leases are the server's choice; log lines have times. */
const masked = (text: string): string =>
  text
    .replace(/"(ID|id)"( ?: ?)\d+/g, '"$1"$2LEASE')
    .replace(/"lease":\d+/g, '"lease":LEASE')
    .replace(/\b[0-9a-f]{15,16}\b/g, "LEASE")
    .replace(/"raft_term":\d+/g, '"raft_term":N')
    .replace(/remaining\(\d+s\)/g, "remaining(N)")
    .replace(/^\{"level".*$/gm, "LOG");

const run = async (side: PairMember, ...args: string[]): Promise<string> => {
  const { stdout, stderr, code } = await runProgram(etcdctl(), [`--endpoints=${side.endpoint}`, ...args]);
  return `${masked(stdout + stderr)}${code === 0 ? "" : `status ${code}`}`;
};

/** The same course on both; what it hands back must be the same. */
const onBoth = async (course: (side: PairMember) => Promise<readonly string[]>): Promise<readonly string[]> => {
  if (pair === null) throw new Error("not started");
  const [expected, actual] = await Promise.all([pair.etcd, pair.ours].map(course));
  assert.deepEqual(actual, expected);
  return expected!;
};

const current = async (side: PairMember): Promise<number> => {
  const { stdout } = await runProgram(etcdctl(), [`--endpoints=${side.endpoint}`, "get", "x", "-w", "json"]);
  return (JSON.parse(stdout) as { header: { revision: number } }).header.revision;
};

test("etcdctl watch: history and new changes, in every form of output", { skip }, async () => {
  const printed = await onBoth(async (side) => {
    const from = (await current(side)) + 1;
    for (const [key, value] of ["wa 1", "wb 2", "wa 3"].map((each) => each.split(" ")))
      await run(side, "put", key!, value!);
    await run(side, "del", "wa");
    const outputs: string[] = [];
    const forms: readonly (readonly [number, readonly string[]])[] = [
      [11, ["watch", "w", "--prefix", `--rev=${from}`]],
      [12, ["watch", "wa", "--prev-kv", `--rev=${from}`]],
      [8, ["watch", "wa", "wc", `--rev=${from + 1}`]],
      [1, ["watch", "w", "--prefix", `--rev=${from}`, "-w", "json"]],
      [13, ["watch", "wb", `--rev=${from}`, "-w", "fields"]],
      [
        14,
        [
          "watch",
          "wa",
          `--rev=${from}`,
          "--",
          "sh",
          "-c",
          "echo $ETCD_WATCH_EVENT_TYPE $ETCD_WATCH_KEY $ETCD_WATCH_VALUE",
        ],
      ],
      [1, ["watch", "wa", "--rev=-1"]],
    ];
    for (const [lines, args] of forms) {
      const watching = new Running(side, args);
      await watching.printed(Math.min(lines, 1));
      const endsItself = args.includes("--rev=-1");
      if (!endsItself) await watching.printed(lines === 1 ? 1 : lines - 2);
      outputs.push(await watching.end(endsItself ? undefined : "SIGINT"));
    }
    return outputs;
  });
  assert.match(printed[0]!, /^PUT\nwa\n1\nPUT\nwb\n2\nPUT\nwa\n3\nDELETE\nwa\n/);
});

test("etcdctl watch -i: several watches, progress, and what it refuses", { skip }, async () => {
  await onBoth(async (side) => {
    const watching = new Running(side, ["watch", "-i"]);
    watching.write("watch ia");
    watching.write("watch ib --prefix --prev-kv");
    watching.write("nonsense");
    watching.write("progress");
    // The progress answer says that both watches are there.
    await watching.printed(1);
    const outputs: string[] = [];
    for (let tries = 0; tries < 100 && !watching.output.includes("progress notify"); tries++) {
      watching.write("progress");
      await watching.printed(watching.output.split("\n").length).catch(() => "");
    }
    await run(side, "put", "ia", "1");
    await run(side, "put", "ib2", "2");
    await run(side, "del", "ib2");
    for (let lines = 0; !watching.output.includes("DELETE\nib2");) await watching.printed(++lines);
    const text = await watching.end("SIGINT");
    outputs.push(text.replace(/^progress notify.*\n/gm, "").replace(/^.*nonsense.*\n/gm, "NONSENSE\n"));
    return outputs;
  });
});

test(
  "etcdctl lock: one holder at a time, the next one after it, around a command and its status",
  { skip },
  async () => {
    const printed = await onBoth(async (side) => {
      const first = new Running(side, ["lock", "mutex"]);
      // The key, and its empty value.
      const outputs = [await first.printed(2)];
      const second = new Running(side, [
        "lock",
        "mutex",
        "--",
        "sh",
        "-c",
        "echo held $ETCD_LOCK_KEY $ETCD_LOCK_REV; exit 3",
      ]);
      while ((await run(side, "get", "mutex", "--prefix", "--keys-only")).split("mutex/").length < 3);
      outputs.push(second.output, await first.end("SIGINT"), await second.end());
      outputs.push(await run(side, "get", "mutex", "--prefix"));
      outputs.push(await run(side, "lock", "mutex", "--ttl=5", "echo", "short"));
      return outputs;
    });
    assert.equal(printed[1], "", "two hold the lock");
    assert.match(printed[3]!, /^held mutex\/LEASE \d+/);
  },
);

test("etcdctl elect: a leader, its listeners, and the one who follows it", { skip }, async () => {
  await onBoth(async (side) => {
    const first = new Running(side, ["elect", "vote", "one"]);
    const outputs = [await first.printed(2)];
    const listener = new Running(side, ["elect", "-l", "vote"]);
    outputs.push(await listener.printed(2));
    const second = new Running(side, ["elect", "vote", "two"]);
    while ((await run(side, "get", "vote", "--prefix", "--keys-only")).split("vote/").length < 3);
    outputs.push(second.output, await first.end("SIGINT"), await second.printed(2), await listener.printed(4));
    outputs.push(await listener.end("SIGINT"), await second.end("SIGINT"));
    outputs.push(await run(side, "elect", "vote"), await run(side, "elect"));
    return outputs;
  });
});

test(
  "etcdctl lease: grant, keys, time to live, keepalive, list, revoke, in every form of output",
  { skip },
  async () => {
    await onBoth(async (side) => {
      const outputs: string[] = [];
      const { stdout } = await runProgram(etcdctl(), [`--endpoints=${side.endpoint}`, "lease", "grant", "500"]);
      const id = stdout.split(" ")[1]!;
      outputs.push(masked(stdout), await run(side, "put", "leased", "x", `--lease=${id}`));
      for (const format of ["simple", "json", "fields", "table"]) {
        // Remaining time is a matter of time: only its form is compared.
        const left = await run(side, "lease", "timetolive", id, "--keys", "-w", format);
        outputs.push(left.replace(/("ttl":|"TTL" : |\| +)49\d/g, "$1TTL"));
        outputs.push(await run(side, "lease", "list", "-w", format));
        outputs.push(await run(side, "lease", "keep-alive", "--once", id, "-w", format));
      }
      outputs.push(await run(side, "lease", "revoke", id), await run(side, "get", "leased"));
      outputs.push(await run(side, "lease", "revoke", id), await run(side, "lease", "timetolive", id));
      outputs.push(await run(side, "lease", "keep-alive", "--once", id), await run(side, "lease", "grant", "x"));
      const short = await runProgram(etcdctl(), [`--endpoints=${side.endpoint}`, "lease", "grant", "1"]);
      const alive = new Running(side, ["lease", "keep-alive", short.stdout.split(" ")[1]!]);
      outputs.push(await alive.printed(2), (await alive.end("SIGINT")).slice(0, 20));
      return outputs;
    });
  },
);

test("etcdctl watch from a compacted revision", { skip }, async () => {
  await onBoth(async (side) => {
    for (let i = 0; i < 5; i++) await run(side, "put", "old", String(i));
    const revision = await current(side);
    const outputs = [await run(side, "compaction", String(revision), "--physical")];
    const late = new Running(side, ["watch", "old", "--rev=2"]);
    outputs.push(await late.end());
    return outputs;
  });
});
