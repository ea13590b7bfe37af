/** Reading what the index names. */
import type { Backend, RecordView } from "../backend/index.js";

/** Points at a record that the index names. Its absence means that the file is damaged: the member must stop. */
export function readIndexed(backend: Backend, main: number, sub: number, into: RecordView): void {
  if (!backend.readRecord(main, sub, false, into)) {
    throw new Error(`mvcc: revision ${main}.${sub} is in the index but not in the backend`);
  }
}
