/**
 * A merge sort that pauses, so that a long one holds no thread. Equal items keep their order.
 *
 *   for (const steps = sortInSlices(order, before, 10_000); ;) { const { done, value } = steps.next(); … }
 */

/**
 * Sorts `order` (numbers that mean something to `before`); pauses after each `sliceMax` moves. Returns the sorted
 * array, which may be another one than `order`.
 */
export function* sortInSlices(
  order: Uint32Array,
  before: (a: number, b: number) => boolean,
  sliceMax: number,
): Generator<undefined, Uint32Array> {
  const { length } = order;
  let from: Uint32Array = order;
  let to: Uint32Array = new Uint32Array(length);
  let left = sliceMax;
  for (let width = 1; width < length; width *= 2) {
    for (let start = 0; start < length; start += 2 * width) {
      const middle = Math.min(start + width, length);
      const end = Math.min(start + 2 * width, length);
      let a = start;
      let b = middle;
      for (let at = start; at < end; at++) {
        const takesFirst = a < middle && (b === end || !before(from[b]!, from[a]!));
        to[at] = takesFirst ? from[a++]! : from[b++]!;
        if (--left > 0) continue;
        left = sliceMax;
        yield;
      }
    }
    [from, to] = [to, from];
  }
  return from;
}

/** 0, 1, 2, … */
export function ascending(count: number): Uint32Array {
  const order = new Uint32Array(count);
  for (let i = 0; i < count; i++) order[i] = i;
  return order;
}
