/** Members below strace, which tells their system calls in order and can delay them or let them fail. */
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import { Member, type MemberOptions } from "./member.js";

export const hasStrace = spawnSync("strace", ["-o", "/dev/null", "true"]).status === 0;

/** One system call, from its first line in the trace to its last. */
export interface SystemCall {
  readonly name: string;
  /** As strace writes them, descriptors with their paths. */
  readonly args: string;
  /** −1 for a failed one; null for one that did not return. */
  result: number | null;
  /** What strace says after the number: a descriptor's path, an error's name. */
  outcome: string;
  /** Places in the trace; `end` is Infinity for a call that did not return. */
  readonly begin: number;
  end: number;
}

/** Calls in the order of their beginning. */
export const parseTrace = (text: string): SystemCall[] => {
  const calls: SystemCall[] = [];
  const open = new Map<string, SystemCall>();
  for (const [at, line] of text.split("\n").entries()) {
    const words = /^(\d+) +(?:<\.\.\. (\w+) resumed>|(\w+)\()(.*)$/.exec(line);
    if (words === null) continue;
    const [, thread = "", resumed, name = "", rest = ""] = words;
    const call: SystemCall | undefined =
      resumed === undefined
        ? { name, args: rest, result: null, outcome: "", begin: at, end: Infinity }
        : open.get(thread);
    if (call === undefined) continue;
    if (resumed === undefined) calls.push(call);
    open.set(thread, call);
    const returned = /\) += (-?\d+)([^"]*)$/.exec(rest);
    if (returned === null) continue;
    call.result = Number(returned[1]);
    call.outcome = returned[2]!;
    call.end = at;
  }
  return calls;
};

const pollMs = 10;

/** A member, and the trace of its system calls. */
export class TracedMember {
  /** The process that is waited for is strace, which ends as the member ends. */
  readonly member: Member;
  readonly #path: string;

  /** `flags` are strace's: what to trace, and how to disturb it. The trace goes to the file `path`. */
  constructor(options: MemberOptions, path: string, calls: readonly string[], flags: readonly string[] = []) {
    this.#path = path;
    // execve is there for the process's ID; not every machine has every call.
    const traced = ["execve", ...calls].map((name) => `?${name}`).join(",");
    const strace = ["strace", "-f", "-y", "-s", "4096", "-o", path, "-e", `trace=${traced}`, ...flags];
    this.member = Member.launch({ ...options, command: [...strace, ...options.command] });
  }

  calls(): SystemCall[] {
    return parseTrace(readFileSync(this.#path, "utf8"));
  }

  /** Returns once `holds`; the trace is a file, and no event tells that it has grown. */
  async until(holds: () => boolean, msMax = 30_000): Promise<void> {
    for (const end = performance.now() + msMax; !holds(); await delay(pollMs)) {
      if (performance.now() > end) throw new Error(`the trace does not show it within ${msMax} ms`);
    }
  }

  /** kill -9 of the member itself: strace takes no signals. */
  async kill(): Promise<void> {
    const [processId] = /^\d+/.exec(readFileSync(this.#path, "utf8")) ?? [];
    try {
      process.kill(Number(processId ?? this.member.pid), "SIGKILL");
    } catch {
      // It has ended by itself.
    }
    await this.member.exited;
  }
}
