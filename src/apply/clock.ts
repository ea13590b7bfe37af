/** Time for metrics and logs alone; nothing that is applied may depend on it. */
export interface Clock {
  /** Milliseconds of a clock that never goes back. */
  now(): number;
  /** What, added to `now()`, gives milliseconds since 1970. */
  readonly timeOrigin?: number;
}
