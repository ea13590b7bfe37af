/**
 * Go's own parsers as the judge of ours: a small program (oracle/) that is built once into the test cache and asked
 * over pipes. Tests that need it are skipped where Go is missing.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { join } from "node:path";
import { goProgram, packageRoot } from "../support/index.js";

/** The judge's answer: Go's output, or its error text with plain spaces. */
export type Verdict =
  | { readonly accepted: true; readonly bytes: Buffer }
  | { readonly accepted: false; readonly text: string };

/** 'p': parse and write again; 'j': JSON body to message; 'e': message to JSON. */
export type Operation = "p" | "j" | "e";

/** A running judge. Questions may be asked without waiting for answers; these come in order. */
export class Oracle {
  readonly #child: ChildProcess;
  readonly #waiting: { resolve(verdict: Verdict): void; reject(error: Error): void }[] = [];
  #pending: Buffer = Buffer.alloc(0);

  /** Undefined when Go is missing. */
  static async start(): Promise<Oracle | undefined> {
    const program = await goProgram("proto-oracle", join(packageRoot, "test", "fuzz", "oracle"));
    return program === null ? undefined : new Oracle(program);
  }

  private constructor(program: string) {
    this.#child = spawn(program, { stdio: ["pipe", "pipe", "inherit"] });
    this.#child.stdout!.on("data", (chunk: Buffer) => this.#take(chunk));
    this.#child.on("exit", (code) => {
      for (const { reject } of this.#waiting.splice(0)) reject(new Error(`the oracle ended with code ${code}`));
    });
  }

  ask(operation: Operation, name: string, data: Uint8Array): Promise<Verdict> {
    const head = Buffer.alloc(6);
    head.writeUInt32LE(2 + name.length + data.length, 0);
    head.write(operation, 4, "latin1");
    head[5] = name.length;
    this.#child.stdin!.write(Buffer.concat([head, Buffer.from(name), data]));
    return new Promise((resolve, reject) => this.#waiting.push({ resolve, reject }));
  }

  stop(): void {
    this.#child.stdin!.end();
  }

  #take(chunk: Buffer): void {
    this.#pending = Buffer.concat([this.#pending, chunk]);
    let at = 0;
    while (this.#pending.length - at >= 4) {
      const end = at + 4 + this.#pending.readUInt32LE(at);
      if (end > this.#pending.length) break;
      const bytes = this.#pending.subarray(at + 5, end);
      const accepted = this.#pending[at + 4] === 1;
      const verdict: Verdict = accepted
        ? { accepted, bytes: Buffer.from(bytes) }
        : { accepted, text: plainSpaces(bytes.toString()) };
      this.#waiting.shift()!.resolve(verdict);
      at = end;
    }
    this.#pending = this.#pending.subarray(at);
  }
}

/** Go's protobuf texts hold a no-break space in some builds and a plain one in others, by intention. */
export function plainSpaces(text: string): string {
  return text.replaceAll("\u00a0", " ");
}
