/**
 * How many file descriptors clients may take. Some are kept for the member's own files and its peers, as etcd keeps them: a
 * log that cannot open its next segment ends the member.
 * Thread: main.
 */
import { openFilesMax } from "../metrics/index.js";

/** Kept for all but clients, etcd's number. */
const descriptorsReserved = 150;

/** The process may open so few files that none are left for clients. */
export class DescriptorLimitError extends Error {
  override readonly name = "DescriptorLimitError";
  readonly fields: Readonly<Record<string, unknown>>;

  constructor(limit: number) {
    super("file descriptor limit of etcd process is too low; please set higher");
    this.fields = { limit, "recommended-limit": descriptorsReserved };
  }
}

/** Descriptors for clients; Infinity where the system sets no limit or does not say. Throws DescriptorLimitError. */
export function clientDescriptorsMax(limit: number | undefined = openFilesMax()): number {
  if (limit === undefined) return Infinity;
  if (limit <= descriptorsReserved) throw new DescriptorLimitError(limit);
  return limit - descriptorsReserved;
}
