/** The worker's logger: lines that pass the level travel to main, which writes them. */
import type { LogFields, Logger } from "../base/index.js";
import type { FromApply } from "./control.js";

const levels = ["debug", "info", "warn", "error"] as const;
type Level = (typeof levels)[number];

export class PortLogger implements Logger {
  readonly #post: (message: FromApply) => void;
  readonly #levelMin: number;
  readonly #name: string;

  constructor(post: (message: FromApply) => void, level: string, name: string) {
    this.#post = post;
    // Levels above error (panic, fatal) let errors through: nothing of this thread lies above.
    this.#levelMin = Math.max(0, level === "panic" || level === "fatal" ? 3 : levels.indexOf(level as Level));
    this.#name = name;
  }

  debug(message: string, fields: LogFields = {}): void {
    this.#log(0, message, fields);
  }
  info(message: string, fields: LogFields = {}): void {
    this.#log(1, message, fields);
  }
  warn(message: string, fields: LogFields = {}): void {
    this.#log(2, message, fields);
  }
  error(message: string, fields: LogFields = {}): void {
    this.#log(3, message, fields);
  }

  named(name: string): Logger {
    return new PortLogger(this.#post, levels[this.#levelMin] ?? "info", `${this.#name}.${name}`);
  }

  #log(level: number, message: string, fields: LogFields): void {
    if (level < this.#levelMin) return;
    this.#post({ type: "log", level: levels[level]!, logger: this.#name, message, fields });
  }
}
