/**
 * The Logger on pino, with the line shape of etcd's zap: level, ts, logger, caller, msg, then fields.
 * Thread: main; other threads send their lines there. Lines are written synchronously: one that
 * explains why the process ends must not be lost.
 */
import { basename, dirname } from "node:path";
import pino from "pino";
import { clockText, nowMs } from "./log-text.js";
import type { LogFields, Logger } from "./logger.js";
import { sourcePlace } from "./source-lines.js";

/** etcd's names of levels, and pino's for them. Nothing here logs at panic: asking for it shows what is fatal. */
const levels = { debug: "debug", info: "info", warn: "warn", error: "error", panic: "fatal", fatal: "fatal" } as const;
export type LogLevel = keyof typeof levels;

export function isLogLevel(text: string): text is LogLevel {
  return Object.hasOwn(levels, text);
}

export interface LoggerOptions {
  readonly level: LogLevel;
  readonly format: "json" | "console";
  /** "default", "stderr", "stdout" or paths. */
  readonly outputs: readonly string[];
}

/** An output that cannot be written to. */
export class LogOutputError extends Error {
  override readonly name = "LogOutputError";
}

/** Also logs at etcd's level fatal; the caller then ends the process. */
export interface RootLogger extends Logger {
  fatal(message: string, fields?: LogFields): void;
}

/** Frames of this file and of pino lie between a call and the stack's top. */
const ownFrames = /pino-logger\.[jt]s$|node_modules\/pino\/|^node:/;

/** "folder/file.ts:12" of the code that logs. */
function caller(): string {
  const holder: { stack?: string } = {};
  Error.captureStackTrace(holder, caller);
  for (const frame of (holder.stack ?? "").split("\n").slice(1)) {
    const match = /([^\s(]+):(\d+):\d+\)?$/.exec(frame);
    if (match === null) continue;
    const { file, line } = sourcePlace(match[1]!, Number(match[2]));
    if (ownFrames.test(file)) continue;
    const path = file.replace(/\.js$/, ".ts");
    return `${basename(dirname(path))}/${basename(path)}:${line}`;
  }
  return "undefined";
}

/** JSON cannot hold a bigint, and of an Error shows nothing: IDs print as decimals, errors as their message. */
function printable(fields: LogFields): LogFields {
  const isPlain = Object.values(fields).every((value) => typeof value !== "bigint" && !(value instanceof Error));
  if (isPlain) return fields;
  const plain = (value: unknown): unknown =>
    typeof value === "bigint" ? String(value) : value instanceof Error ? value.message : value;
  return Object.fromEntries(Object.entries(fields).map(([name, value]) => [name, plain(value)]));
}

class PinoLogger implements RootLogger {
  readonly #pino: pino.Logger;

  constructor(logger: pino.Logger) {
    this.#pino = logger;
  }

  debug(message: string, fields: LogFields = {}): void {
    if (this.#pino.isLevelEnabled("debug")) this.#pino.debug({ caller: caller(), msg: message, ...printable(fields) });
  }
  info(message: string, fields: LogFields = {}): void {
    if (this.#pino.isLevelEnabled("info")) this.#pino.info({ caller: caller(), msg: message, ...printable(fields) });
  }
  warn(message: string, fields: LogFields = {}): void {
    if (this.#pino.isLevelEnabled("warn")) this.#pino.warn({ caller: caller(), msg: message, ...printable(fields) });
  }
  error(message: string, fields: LogFields = {}): void {
    this.#pino.error({ caller: caller(), msg: message, ...printable(fields) });
  }
  fatal(message: string, fields: LogFields = {}): void {
    this.#pino.fatal({ caller: caller(), msg: message, ...printable(fields) });
  }
  named(name: string): Logger {
    return new PinoLogger(this.#pino.child({ logger: name }));
  }
}

/** zap's console form: time, level, logger, caller, message, fields, between tabs. */
function consoleLine(line: string): string {
  const { level, ts, logger, caller: place, msg, ...fields } = JSON.parse(line) as Record<string, string>;
  const rest = Object.keys(fields).length === 0 ? [] : [JSON.stringify(fields)];
  return `${[ts, level, ...(logger === undefined ? [] : [logger]), place, msg, ...rest].join("\t")}\n`;
}

/** One sink an output; each takes whole lines and waits when the reader is slow. Throws LogOutputError. */
function sinkOf(output: string): (line: string) => void {
  const dest = output === "stdout" ? 1 : output === "default" || output === "stderr" ? 2 : output;
  try {
    const destination = pino.destination({ dest, sync: true, append: true });
    return (line) => void destination.write(line);
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    const why = code === "ENOENT" ? "no such file or directory" : message;
    throw new LogOutputError(`open sink ${JSON.stringify(output)}: open ${output}: ${why}`);
  }
}

/** Makes the process's logger. Throws LogOutputError. */
export function createLogger(options: LoggerOptions): RootLogger {
  const sinks = options.outputs.map(sinkOf);
  const write = (line: string): void => {
    const text = options.format === "console" ? consoleLine(line) : line;
    for (const sink of sinks) sink(text);
  };
  const logger = pino(
    {
      level: levels[options.level],
      base: null,
      timestamp: () => `,"ts":"${clockText(nowMs())}"`,
      formatters: { level: (label) => ({ level: label }) },
    },
    { write },
  );
  return new PinoLogger(logger);
}
