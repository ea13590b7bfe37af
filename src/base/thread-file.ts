/** Where the files of threads are. */

/**
 * The compiled file of a thread, given as "apply/apply.worker.js". This module is one folder below src/, and so is
 * the bundle of a command that it becomes part of (scripts/bundle.ts), beside which the threads' bundles lie.
 */
export function threadFile(path: string): URL {
  return new URL(`../${path}`, import.meta.url);
}
