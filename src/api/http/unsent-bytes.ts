/**
 * What is kept of answers for clients that have not taken them, of all connections together. Beyond the bound
 * no further long answer is kept, and above half of it who takes little is cut off, much as the edge does it for gRPC.
 */

/** An answer that is on its way. */
export interface SlowAnswer {
  /** Bytes that the client has taken since it was last asked. */
  takenBytes(): number;
  /** Cuts the client off. */
  cutOff(): void;
}

export interface UnsentBytesOptions {
  readonly bytesMax: number;
  /** While more than half of that is kept, this must be taken within the time. */
  readonly stallBytesMin: number;
  readonly stallMs: number;
}

/** The edge's own bounds. */
export const unsentBytesDefaults: UnsentBytesOptions = { bytesMax: 256 << 20, stallBytesMin: 1 << 20, stallMs: 30_000 };

export class UnsentBytes {
  readonly #options: UnsentBytesOptions;
  #total = 0;
  /** Since when each answer has taken too little, and how much; only while much is kept. */
  readonly #since = new Map<SlowAnswer, { ms: number; bytes: number }>();

  constructor(options: UnsentBytesOptions) {
    this.#options = options;
  }

  get total(): number {
    return this.#total;
  }

  /** Whether a further answer of this length may be kept. */
  hasRoom(bytes: number): boolean {
    return this.#total === 0 || this.#total + bytes <= this.#options.bytesMax;
  }

  /** More is kept, or, below zero, less. */
  change(bytes: number): void {
    this.#total += bytes;
  }

  /** Looks at all answers that are on their way; to be called every few seconds. */
  check(answers: Iterable<SlowAnswer>, nowMs: number): void {
    const { bytesMax, stallBytesMin, stallMs } = this.#options;
    const isPressed = this.#total > bytesMax / 2;
    const before = new Map(this.#since);
    this.#since.clear();
    for (const answer of answers) {
      const taken = answer.takenBytes();
      if (!isPressed) continue;
      const { ms, bytes } = before.get(answer) ?? { ms: nowMs, bytes: 0 };
      // What it took before it was first looked at does not count.
      const all = before.has(answer) ? bytes + taken : 0;
      if (all >= stallBytesMin) this.#since.set(answer, { ms: nowMs, bytes: 0 });
      else if (nowMs - ms < stallMs) this.#since.set(answer, { ms, bytes: all });
      else answer.cutOff();
    }
  }
}
