/**
 * Bounds what clients may leave lying: while replies of `pendingBytesMax` bytes wait for clients that do not read, no
 * further long read begins. Short ones, writes and watches go on. The edge closes connections that take hardly anything
 * meanwhile, so that the others' turn comes.
 */
const pendingBytesMax = 256 << 20;
/** Whether there is room again is asked so often. */
const againMs = 20;

export interface ReplyPressureOptions {
  /** Bytes of replies that clients have not taken yet; without it there is no bound. */
  readonly pendingReplyBytes?: (() => number) | undefined;
  /** Runs a function once, after so many milliseconds. */
  readonly after?: ((milliseconds: number, run: () => void) => void) | undefined;
  /** A turn has something to do. */
  readonly wake: () => void;
}

export class ReplyPressure {
  readonly #options: ReplyPressureOptions;
  #isOn = false;

  constructor(options: ReplyPressureOptions) {
    this.#options = options;
  }

  /** As of the last `feel`. */
  get isOn(): boolean {
    return this.#isOn;
  }

  /** Looks whether too much waits; if so, looks again a little later, and wakes the thread. */
  feel(): boolean {
    const { pendingReplyBytes, after, wake } = this.#options;
    if (this.#isOn || pendingReplyBytes === undefined || after === undefined) return this.#isOn;
    if (pendingReplyBytes() < pendingBytesMax) return false;
    this.#isOn = true;
    after(againMs, () => {
      this.#isOn = false;
      wake();
    });
    return true;
  }
}
