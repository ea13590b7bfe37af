/** The generator's watchers (native/core/examples/load/watch.rs) as a program that obeys line by line. */
import { spawn, type ChildProcessByStdio } from "node:child_process";
import { createInterface } from "node:readline";
import type { Readable, Writable } from "node:stream";
import type { Arena, LoadArguments } from "./trial.js";

const answerMs = 300_000;

/** What the watchers were told until now. */
export interface Told {
  readonly events: number;
  /** Of the watcher that was told least. */
  readonly fewest: number;
  /** Events missed, repeated or out of order. */
  readonly wrong: number;
  /** How long the wait took. */
  readonly ms: number;
  readonly lastEventUs: number;
  readonly lateUs: { readonly min: number; readonly p50: number; readonly p99: number; readonly max: number };
}

export interface TimedPuts {
  /** Until all had the event, of each put. */
  readonly us: readonly number[];
  readonly cpuSeconds: number;
  readonly ownCpuSeconds: number;
  readonly wrong: number;
}

export class Watchers {
  readonly #child: ChildProcessByStdio<Writable, Readable, null>;
  readonly #lines: AsyncIterator<string>;
  readonly #name: string;
  openedMs = 0;

  private constructor(arena: Arena, settings: LoadArguments) {
    this.#name = arena.server.contestant.name;
    const args = arena.arguments({ call: "watch", ...settings });
    this.#child = spawn(arena.program, args, { stdio: ["pipe", "pipe", "inherit"] });
    this.#lines = createInterface({ input: this.#child.stdout })[Symbol.asyncIterator]();
  }

  /** Resolves once all of them are there. */
  static async open(arena: Arena, settings: LoadArguments): Promise<Watchers> {
    const watchers = new Watchers(arena, settings);
    watchers.openedMs = ((await watchers.#answer()) as { openedMs: number }).openedMs;
    return watchers;
  }

  /** Puts one key again and again, and times how long all of them take to hear of it. */
  async puts(count: number): Promise<TimedPuts> {
    const timed = (await this.#ask(`puts ${count}`)) as TimedPuts;
    if (timed.wrong > 0) throw new Error(`${this.#name}: ${timed.wrong} events missing, repeated or out of order`);
    return timed;
  }

  /** Reads until so many events have come; throws when that takes too long, or when one is wrong. */
  async wait(events: number, ms: number): Promise<Told> {
    const told = await this.told(events, ms);
    if (told.events !== events) throw new Error(`${this.#name}: ${told.events} events of ${events}`);
    return told;
  }

  /** Reads for so long, or until so many events have come. */
  async told(events: number, ms: number): Promise<Told> {
    const told = (await this.#ask(`wait ${events} ${ms}`)) as Told;
    if (told.wrong > 0) throw new Error(`${this.#name}: ${told.wrong} events missing, repeated or out of order`);
    return told;
  }

  close(): void {
    this.#child.kill("SIGKILL");
  }

  #ask(line: string): Promise<unknown> {
    this.#child.stdin.write(`${line}\n`);
    return this.#answer();
  }

  async #answer(): Promise<unknown> {
    const timer = setTimeout(() => this.close(), answerMs);
    const line: IteratorResult<string, unknown> = await this.#lines.next();
    clearTimeout(timer);
    if (line.done === true) throw new Error(`${this.#name}: the watchers' program has ended`);
    return JSON.parse(line.value);
  }
}

/** Runs with watchers that are there, and ends them. */
export async function withWatchers<Result>(
  arena: Arena,
  settings: LoadArguments,
  run: (watchers: Watchers) => Promise<Result>,
): Promise<Result> {
  const watchers = await Watchers.open(arena, settings);
  try {
    return await run(watchers);
  } finally {
    watchers.close();
  }
}
