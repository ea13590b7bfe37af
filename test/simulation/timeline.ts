/**
 * Simulated time: what happens when. Equal times happen in the order in which they were asked for, so a run is the
 * same whenever its seed is. Milliseconds.
 */

interface Event {
  readonly at: number;
  readonly order: number;
  readonly run: () => void;
}

export class Timeline {
  /** A binary heap. */
  readonly #events: Event[] = [];
  #now = 0;
  #order = 0;
  /** Events that have happened. */
  count = 0;

  get now(): number {
    return this.#now;
  }
  get size(): number {
    return this.#events.length;
  }
  /** When the next event happens; Infinity: none will. */
  get nextAt(): number {
    return this.#events[0]?.at ?? Infinity;
  }

  /** `run` happens `delayMs` from now. */
  after(delayMs: number, run: () => void): void {
    this.at(this.#now + delayMs, run);
  }

  at(time: number, run: () => void): void {
    this.#push({ at: Math.max(time, this.#now), order: this.#order++, run });
  }

  /** Lets the next event happen. */
  step(): void {
    const event = this.#pop();
    this.#now = event.at;
    this.count++;
    event.run();
  }

  /** Time passes without an event. */
  skipTo(time: number): void {
    this.#now = Math.max(this.#now, time);
  }

  #push(event: Event): void {
    const heap = this.#events;
    let at = heap.push(event) - 1;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!before(event, heap[parent]!)) break;
      heap[at] = heap[parent]!;
      at = parent;
    }
    heap[at] = event;
  }

  #pop(): Event {
    const heap = this.#events;
    const top = heap[0]!;
    const last = heap.pop()!;
    if (heap.length === 0) return top;
    let at = 0;
    for (;;) {
      let child = at * 2 + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && before(heap[child + 1]!, heap[child]!)) child++;
      if (!before(heap[child]!, last)) break;
      heap[at] = heap[child]!;
      at = child;
    }
    heap[at] = last;
    return top;
  }
}

function before(a: Event, b: Event): boolean {
  return a.at < b.at || (a.at === b.at && a.order < b.order);
}

/**
 * One thread of one process: what it is to do waits while it is paused, and is dropped once it is dead.
 */
export class Thread {
  readonly #timeline: Timeline;
  readonly #failed: (error: unknown) => void;
  #alive = true;
  #pausedUntil = 0;
  /** What has come up while it is paused, in order. */
  #held: (() => void)[] = [];

  /** `failed`: something that it did threw. */
  constructor(timeline: Timeline, failed: (error: unknown) => void) {
    this.#timeline = timeline;
    this.#failed = failed;
  }

  get alive(): boolean {
    return this.#alive;
  }

  kill(): void {
    this.#alive = false;
  }

  pause(forMs: number): void {
    this.#pausedUntil = Math.max(this.#pausedUntil, this.#timeline.now + forMs);
    this.#timeline.after(forMs, () => this.#release());
  }

  resume(): void {
    this.#pausedUntil = 0;
    this.#release();
  }

  /** What was held happens now, each as an event of its own. */
  #release(): void {
    if (this.#timeline.now < this.#pausedUntil) return;
    for (const run of this.#held.splice(0)) this.#timeline.after(0, () => this.#turn(run));
  }

  /** `run` happens on this thread after `delayMs`, or when it is not paused any more. */
  run(delayMs: number, run: () => void): void {
    this.#timeline.after(delayMs, () => this.#turn(run));
  }

  #turn(run: () => void): void {
    if (!this.#alive) return;
    if (this.#timeline.now < this.#pausedUntil) {
      this.#held.push(run);
      return;
    }
    try {
      run();
    } catch (error) {
      this.#failed(error);
    }
  }
}
