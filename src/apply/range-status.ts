/** What a client gets for a revision that cannot be read. */
import { ErrCompacted, ErrFutureRevision, type EtcdErrorClass } from "../errors/index.js";
import { RevisionStatus } from "../storage/mvcc/index.js";

/** null: it can be read. */
export function refusalOf(status: RevisionStatus): EtcdErrorClass | null {
  if (status === RevisionStatus.Ok) return null;
  return status === RevisionStatus.Future ? ErrFutureRevision : ErrCompacted;
}
