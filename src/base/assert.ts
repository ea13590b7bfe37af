/**
 * Assertions for programmer errors. They stay on in production.
 * Never assert on bytes that come from a client, a peer or the disk: those get typed errors.
 */

/** An invariant of this program does not hold; the process must not go on. */
export class AssertionError extends Error {
  override readonly name = "AssertionError";
}

/** Throws `AssertionError` with `message` unless `condition` holds. */
export function assert(condition: boolean, message: string): asserts condition {
  if (!condition) throw new AssertionError(message);
}

/** For the default branch of an exhaustive `switch`. */
export function unreachable(value: never, message: string): never {
  throw new AssertionError(`${message}: ${String(value)}`);
}
