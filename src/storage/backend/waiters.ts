/** Those who wait for a state of the backend, until it has failed. */
interface Waiter {
  readonly isReached: () => boolean;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

export class Waiters {
  #waiters: Waiter[] = [];
  #failure: Error | undefined;

  get failure(): Error | undefined {
    return this.#failure;
  }

  /** Resolves when the state is reached, which `wake` looks at; at once when it is. */
  wait(isReached: () => boolean): Promise<void> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    if (isReached()) return Promise.resolve();
    return new Promise((resolve, reject) => this.#waiters.push({ isReached, resolve, reject }));
  }

  /** Something has changed. */
  wake(): void {
    const reached = this.#waiters.filter((waiter) => waiter.isReached());
    this.#waiters = this.#waiters.filter((waiter) => !reached.includes(waiter));
    for (const waiter of reached) waiter.resolve();
  }

  /** No state will be reached any more. */
  fail(error: Error): void {
    this.#failure = error;
    for (const waiter of this.#waiters) waiter.reject(error);
    this.#waiters = [];
  }
}
