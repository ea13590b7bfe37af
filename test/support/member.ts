/**
 * One member process, ours or the real etcd, on free ports of 127.0.0.1 with a data folder of its
 * own. All waiting is on events: log lines and the process's end.
 */
import { spawn, type ChildProcessByStdio } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";
import { packageRoot } from "./package-root.js";

/** How a process ended: one of the two is null. */
export interface Exit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** What to start. `flags` come after the ones the harness gives, so they win. */
export interface MemberOptions {
  /** Program and leading arguments. */
  readonly command: readonly string[];
  readonly dataDir: string;
  readonly clientPort: number;
  readonly peerPort: number;
  /** Told to others as this member's peer URL; IDs are derived from it. Default: the real one. */
  readonly advertisePeerUrl?: string;
  readonly advertiseClientUrl?: string;
  readonly flags?: readonly string[];
  /** The whole environment; default: PATH alone. */
  readonly env?: NodeJS.ProcessEnv;
  readonly cwd?: string;
  /** User and group to run as; for tests that run as root. */
  readonly userId?: number;
}

const readyMsMax = 30_000;
const stopMsMax = 20_000;
const logLinesMax = 5_000;

const running = new Set<ChildProcessByStdio<null, Readable, Readable>>();
const killAll = (): void => {
  for (const child of running) child.kill("SIGKILL");
};
process.once("exit", killAll);
// A signal ends a process without "exit": no member may outlive its test.
for (const signal of ["SIGTERM", "SIGINT", "SIGHUP"] as const) {
  process.once(signal, () => {
    killAll();
    process.kill(process.pid, signal);
  });
}

/** Below the range from which Linux takes the ports of outgoing connections: none of those comes in between. */
const portMin = 10_240;
const portMax = 32_767;
let nextPort = portMin + Math.floor(Math.random() * (portMax - portMin));

/** Whether a listener can be opened on `port` now. */
const isFree = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(false));
    server.listen(port, "127.0.0.1", () => void server.close(() => resolve(true)));
  });

/** `count` ports that were free a moment ago, all different; a process gives none of them twice for long. */
export const freePorts = async (count: number): Promise<number[]> => {
  const ports: number[] = [];
  for (let tries = portMin; ports.length < count && tries <= portMax; tries++) {
    // Another call may go on to the next one while this one waits.
    const port = (nextPort = nextPort === portMax ? portMin : nextPort + 1);
    if (await isFree(port)) ports.push(port);
  }
  if (ports.length < count) throw new Error("no free ports");
  return ports;
};

/** A temporary folder and how to remove it. */
export const temporaryFolder = async (): Promise<{ path: string; remove: () => Promise<void> }> => {
  const path = await mkdtemp(join(process.env["ETCD_TS_TEST_TMP"] ?? tmpdir(), "etcd-ts-test-"));
  return { path, remove: () => rm(path, { recursive: true, force: true }) };
};

/**
 * How the server under test is started: OURS=<command> if given, else the built one. That it is not
 * built is a failure, not a reason to skip: a run that tested nothing must not pass.
 */
export const ourCommand = (): readonly string[] => {
  const given = process.env["OURS"];
  if (given !== undefined && given !== "") return given.split(" ");
  const shim = join(packageRoot, "dist", "bin", "etcd");
  if (!existsSync(shim)) throw new Error(`${shim} is missing: npm run build`);
  return [shim];
};

/**
 * Options of a new member on free ports which tells the same URLs to the outside as every other one made so: members
 * whose IDs, and all that follows from them, are equal.
 */
export const optionsAlike = async (
  command: readonly string[],
  dataDir: string,
  flags: readonly string[] = [],
): Promise<MemberOptions> => {
  const [clientPort = 0, peerPort = 0] = await freePorts(2);
  const advertised = { advertisePeerUrl: "http://127.0.0.1:7", advertiseClientUrl: "http://127.0.0.1:9" };
  return { command, dataDir, clientPort, peerPort, flags, ...advertised };
};

const baseFlags = (options: MemberOptions): string[] => {
  const peer = options.advertisePeerUrl ?? `http://127.0.0.1:${options.peerPort}`;
  return [
    `--data-dir=${options.dataDir}`,
    `--listen-client-urls=http://127.0.0.1:${options.clientPort}`,
    `--advertise-client-urls=${options.advertiseClientUrl ?? `http://127.0.0.1:${options.clientPort}`}`,
    `--listen-peer-urls=http://127.0.0.1:${options.peerPort}`,
    `--initial-advertise-peer-urls=${peer}`,
    `--initial-cluster=default=${peer}`,
    ...(options.flags ?? []),
  ];
};

interface Waiter {
  readonly matches: (line: string) => boolean;
  readonly resolve: (line: string) => void;
  readonly reject: (error: Error) => void;
}

/** A started process and what it has logged. */
export class Member {
  readonly options: MemberOptions;
  /** Settles when the process has ended and its output is closed. */
  readonly exited: Promise<Exit>;
  readonly #child: ChildProcessByStdio<null, Readable, Readable>;
  readonly #lines: string[] = [];
  readonly #waiters = new Set<Waiter>();
  #stdout = "";
  #exit: Exit | null = null;

  private constructor(options: MemberOptions, args: readonly string[]) {
    this.options = options;
    const [program, ...leading] = options.command;
    if (program === undefined) throw new Error("empty command");
    this.#child = spawn(program, [...leading, ...args], {
      stdio: ["ignore", "pipe", "pipe"],
      env: options.env ?? { PATH: process.env["PATH"] ?? "" },
      ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
      ...(options.userId === undefined ? {} : { uid: options.userId, gid: options.userId }),
    });
    running.add(this.#child);
    this.#child.stdout.on("data", (chunk: Buffer) => (this.#stdout += chunk.toString()));
    createInterface({ input: this.#child.stderr }).on("line", (line) => this.#onLine(line));
    this.exited = new Promise((resolve) => {
      this.#child.once("error", (error) => this.#onExit({ code: null, signal: null }, `${error.message}`, resolve));
      this.#child.once("close", (code, signal) => this.#onExit({ code, signal }, "", resolve));
    });
  }

  /** Starts the program with the harness's flags and returns at once. */
  static launch(options: MemberOptions): Member {
    return new Member(options, baseFlags(options));
  }

  /** Starts the program with these arguments only. */
  static launchBare(options: MemberOptions, args: readonly string[]): Member {
    return new Member(options, args);
  }

  /** Starts the program and returns when it serves clients. */
  static async start(options: MemberOptions): Promise<Member> {
    const member = Member.launch(options);
    await member.ready();
    return member;
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  get port(): number {
    return this.options.clientPort;
  }

  /** Everything it has written to stderr so far (the newest lines of a chatty one). */
  get log(): readonly string[] {
    return this.#lines;
  }

  get stdout(): string {
    return this.#stdout;
  }

  /** Returns when both lines that mean "clients are served" were logged. */
  async ready(): Promise<void> {
    await this.waitForLog("ready to serve client requests");
    await this.waitForLog("serving client traffic insecurely");
  }

  /** The first line, past or to come, that contains `text`. */
  waitForLog(text: string, msMax = readyMsMax): Promise<string> {
    const matches = (line: string): boolean => line.includes(text);
    const past = this.#lines.find(matches);
    if (past !== undefined) return Promise.resolve(past);
    if (this.#exit !== null) return Promise.reject(this.#endedWithout(text));
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => settle(() => reject(this.#endedWithout(`${text} within ${msMax} ms`))), msMax);
      const settle = (then: () => void): void => {
        clearTimeout(timer);
        this.#waiters.delete(waiter);
        then();
      };
      const waiter: Waiter = {
        matches,
        resolve: (line) => settle(() => resolve(line)),
        reject: () => settle(() => reject(this.#endedWithout(text))),
      };
      this.#waiters.add(waiter);
    });
  }

  signal(name: NodeJS.Signals): void {
    this.#child.kill(name);
  }

  /** SIGTERM, then the way it ended; one that does not end is killed and reported. */
  async stop(): Promise<Exit> {
    if (this.#exit !== null) return this.#exit;
    this.#child.kill("SIGTERM");
    let hung = false;
    const timer = setTimeout(() => {
      hung = true;
      this.#child.kill("SIGKILL");
    }, stopMsMax);
    const exit = await this.exited;
    clearTimeout(timer);
    if (hung) throw new Error(`SIGTERM did not end the process within ${stopMsMax} ms`);
    return exit;
  }

  /** kill -9. */
  async kill(): Promise<Exit> {
    this.#child.kill("SIGKILL");
    return this.exited;
  }

  #onLine(line: string): void {
    this.#lines.push(line);
    if (this.#lines.length > logLinesMax) this.#lines.splice(0, logLinesMax / 2);
    for (const waiter of this.#waiters) if (waiter.matches(line)) waiter.resolve(line);
  }

  #onExit(exit: Exit, problem: string, resolve: (exit: Exit) => void): void {
    running.delete(this.#child);
    if (this.#exit !== null) return;
    if (problem !== "") this.#lines.push(problem);
    this.#exit = exit;
    for (const waiter of this.#waiters) waiter.reject(new Error("ended"));
    resolve(exit);
  }

  #endedWithout(text: string): Error {
    const tail = this.#lines.slice(-15).join("\n");
    const state = this.#exit === null ? "still runs" : `ended (${this.#exit.code ?? this.#exit.signal})`;
    return new Error(`${this.options.command.join(" ")} ${state} without: ${text}\n${tail}`);
  }
}
