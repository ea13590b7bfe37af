/**
 * Reads an entry's InternalRaftRequest in place: which request it is, and where its message lies.
 */
import { FieldCursor } from "./field-cursor.js";
import type { ApplyOp } from "./metrics.js";

/** Field numbers of InternalRaftRequest's variants that this server applies. */
export const RequestField = {
  None: 0,
  Range: 3,
  Put: 4,
  DeleteRange: 5,
  Txn: 6,
  Compaction: 7,
  LeaseGrant: 8,
  LeaseRevoke: 9,
  Alarm: 10,
  LeaseCheckpoint: 11,
  AuthStatus: 1013,
  AuthUserGet: 1102,
  AuthRoleGet: 1202,
  ClusterVersionSet: 1300,
  ClusterMemberAttrSet: 1301,
  DowngradeInfoSet: 1302,
  DowngradeVersionTest: 9900,
} as const;

const idTag = 0x08;
const headerField = 100;

export class EntryFields {
  readonly #cursor = new FieldCursor();
  /** The variant's field number; 0: none was found. */
  field = 0;
  start = 0;
  end = 0;
  /** It says whose request it is: field 1, or a header. */
  hasId = false;

  read(bytes: Uint8Array, start: number, end: number): void {
    this.field = 0;
    this.hasId = false;
    const cursor = this.#cursor;
    cursor.reset(bytes, start, end);
    while (cursor.next()) {
      const field = cursor.tag >>> 3;
      if (field === headerField || cursor.tag === idTag) this.hasId = true;
      else if ((cursor.tag & 7) === 2) {
        this.field = field;
        this.start = cursor.start;
        this.end = cursor.end;
      }
    }
  }
}

/** The label of an entry's metrics; undefined: it cannot be applied. */
export function opOfField(field: number): ApplyOp | undefined {
  switch (field) {
    case RequestField.Put:
      return "Put";
    case RequestField.Txn:
      return "Txn";
    case RequestField.DeleteRange:
      return "DeleteRange";
    case RequestField.Compaction:
      return "Compaction";
    case RequestField.LeaseGrant:
      return "LeaseGrant";
    case RequestField.LeaseRevoke:
      return "LeaseRevoke";
    case RequestField.LeaseCheckpoint:
      return "LeaseCheckpoint";
    case RequestField.Alarm:
      return "Alarm";
    case RequestField.ClusterVersionSet:
      return "ClusterVersionSet";
    case RequestField.ClusterMemberAttrSet:
      return "ClusterMemberAttrSet";
    case RequestField.DowngradeInfoSet:
      return "DowngradeInfoSet";
    case RequestField.DowngradeVersionTest:
      return "DowngradeVersionTest";
    case RequestField.Range:
    case RequestField.AuthStatus:
    case RequestField.AuthUserGet:
    case RequestField.AuthRoleGet:
      return "Range";
    default:
      return undefined;
  }
}
