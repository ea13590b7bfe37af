/**
 * Streams whose clients want them ended when the member knows no leader (`hasleader`). A look each election timeout;
 * at the third in a row without a leader they are ended, as reconnecting costs more than waiting for an election.
 * Thread: main.
 */
const looksMax = 3;

export interface LeaderStreamsOptions {
  readonly electionTimeoutMs: number;
  readonly hasLeader: () => boolean;
  /** Ends the stream with `no leader`. */
  readonly end: (callId: number) => void;
  /** Runs a function once, later; does not keep the process alive. */
  readonly after: (milliseconds: number, run: () => void) => void;
}

export class LeaderStreams {
  readonly #options: LeaderStreamsOptions;
  readonly #calls = new Set<number>();
  #looks = 0;
  #armed = false;

  constructor(options: LeaderStreamsOptions) {
    this.#options = options;
  }

  add(callId: number): void {
    this.#calls.add(callId);
    this.#arm();
  }

  /** The call has ended. */
  delete(callId: number): void {
    this.#calls.delete(callId);
  }

  #arm(): void {
    if (this.#armed) return;
    this.#armed = true;
    this.#options.after(this.#options.electionTimeoutMs, () => {
      this.#armed = false;
      this.#look();
    });
  }

  #look(): void {
    this.#looks = this.#options.hasLeader() ? 0 : this.#looks + 1;
    if (this.#looks >= looksMax) {
      for (const callId of this.#calls) this.#options.end(callId);
      this.#calls.clear();
    }
    if (this.#calls.size > 0) this.#arm();
    else this.#looks = 0;
  }
}
