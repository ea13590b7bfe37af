/**
 * Whether a history of concurrent calls could have come from one copy of the data on which every call acted at one
 * moment between its begin and its end. The search is Wing and Gong's ("Testing and Verifying Concurrent Objects",
 * 1993) with Lowe's memory of the states that it has been in ("Testing for Linearizability", 2017).
 *
 * A call whose outcome is unknown has no end: it may have acted at any moment from its begin on, or never.
 */

/** What the data is and what a call does to it. */
export interface Model<State, Op> {
  readonly initial: State;
  /** The state after the call; null: the call cannot have acted in this state with the outcome that it had. */
  step(state: State, op: Op): State | null;
  /** Equal for equal states, and for no others. */
  key(state: State): string;
}

/** One call. Times come from one clock; of two equal ones, neither is before the other. */
export interface Call<Op> {
  readonly op: Op;
  readonly begin: number;
  /** Infinity: its outcome is unknown. */
  readonly end: number;
}

export type Verdict<Op> =
  | { readonly result: "linearizable"; readonly order: readonly Call<Op>[] }
  /** `order` is the longest that was found; none of `stuck` can come next, though one of them must. */
  | { readonly result: "violation"; readonly order: readonly Call<Op>[]; readonly stuck: readonly Call<Op>[] }
  /** The search was given up. */
  | { readonly result: "undecided" };

/** States that the search visits before it is given up. */
const visitsMax = 200_000;

/** The calls that may come next in one state, and the one being tried. */
interface Frame<State> {
  readonly state: State;
  readonly candidates: readonly number[];
  at: number;
}

class Search<State, Op> {
  readonly #model: Model<State, Op>;
  /** By begin; those with an end first. */
  readonly #calls: readonly Call<Op>[];
  /** So many of the calls have an end. */
  readonly #known: number;
  readonly #done: Uint8Array;
  #doneKnown = 0;
  /** Calls with an end before this one are all done. */
  #prefix = 0;
  readonly #seen = new Set<string>();
  readonly #path: number[] = [];
  #longest: readonly number[] = [];
  #stuck: readonly number[] = [];

  constructor(model: Model<State, Op>, calls: readonly Call<Op>[]) {
    this.#model = model;
    const byBegin = [...calls].sort((a, b) => a.begin - b.begin);
    const known = byBegin.filter(({ end }) => end !== Infinity);
    this.#known = known.length;
    this.#calls = [...known, ...byBegin.filter(({ end }) => end === Infinity)];
    this.#done = new Uint8Array(this.#calls.length);
  }

  run(): Verdict<Op> {
    const stack = [this.#frame(this.#model.initial)];
    while (this.#doneKnown < this.#known) {
      const frame = stack.at(-1);
      if (frame === undefined) return this.#violation();
      const next = this.#tryNext(frame);
      if (next !== null) stack.push(this.#frame(next));
      else {
        stack.pop();
        if (stack.length > 0) this.#undo();
      }
      if (this.#seen.size > visitsMax) return { result: "undecided" };
    }
    return { result: "linearizable", order: this.#path.map((i) => this.#calls[i]!) };
  }

  #violation(): Verdict<Op> {
    const named = (places: readonly number[]): Call<Op>[] => places.map((i) => this.#calls[i]!);
    return { result: "violation", order: named(this.#longest), stuck: named(this.#stuck) };
  }

  #frame(state: State): Frame<State> {
    const candidates = this.#candidates();
    if (this.#path.length >= this.#longest.length) {
      this.#longest = [...this.#path];
      this.#stuck = candidates;
    }
    return { state, candidates, at: 0 };
  }

  /** Calls that began before any other that is not done ended; first those that must act soonest. */
  #candidates(): number[] {
    const calls = this.#calls;
    let firstEnd = Infinity;
    const candidates: number[] = [];
    for (let i = this.#prefix; i < this.#known && calls[i]!.begin <= firstEnd; i++) {
      if (this.#done[i] === 1) continue;
      firstEnd = Math.min(firstEnd, calls[i]!.end);
      candidates.push(i);
    }
    for (let i = this.#known; i < calls.length && calls[i]!.begin <= firstEnd; i++) {
      if (this.#done[i] === 0) candidates.push(i);
    }
    return candidates.filter((i) => calls[i]!.begin <= firstEnd).sort((a, b) => compareEnds(calls[a]!, calls[b]!));
  }

  /** The state after the next candidate that leads to where the search has not been; null: there is none. */
  #tryNext(frame: Frame<State>): State | null {
    while (frame.at < frame.candidates.length) {
      const i = frame.candidates[frame.at++]!;
      const next = this.#model.step(frame.state, this.#calls[i]!.op);
      if (next === null) continue;
      this.#do(i);
      const key = this.#placeKey(next);
      if (!this.#seen.has(key)) {
        this.#seen.add(key);
        return next;
      }
      this.#undo();
    }
    return null;
  }

  #do(i: number): void {
    this.#path.push(i);
    this.#done[i] = 1;
    if (i < this.#known) this.#doneKnown++;
    while (this.#prefix < this.#known && this.#done[this.#prefix] === 1) this.#prefix++;
  }

  #undo(): void {
    const i = this.#path.pop()!;
    this.#done[i] = 0;
    if (i >= this.#known) return;
    this.#doneKnown--;
    this.#prefix = Math.min(this.#prefix, i);
  }

  /** Names which calls are done and the state: all before the prefix, and the few behind it. */
  #placeKey(state: State): string {
    let key = String(this.#prefix);
    let left = this.#doneKnown - this.#prefix;
    for (let i = this.#prefix; left > 0; i++) {
      if (this.#done[i] === 0) continue;
      key += `,${i}`;
      left--;
    }
    for (let i = this.#known; i < this.#calls.length; i++) if (this.#done[i] === 1) key += `,${i}`;
    return `${key}:${this.#model.key(state)}`;
  }
}

function compareEnds(a: Call<unknown>, b: Call<unknown>): number {
  return a.end === b.end ? a.begin - b.begin : a.end - b.end;
}

/** Looks for an order of the calls that the model allows. */
export function checkLinearizable<State, Op>(model: Model<State, Op>, calls: readonly Call<Op>[]): Verdict<Op> {
  return new Search(model, calls).run();
}
