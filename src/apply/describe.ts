/** Requests as text, for the log of slow ones. Keys are shown, values never. */
import { OpKind, OpReader, TxnTag } from "./txn-walk.js";
import { FieldCursor } from "./field-cursor.js";
import { DeleteRangeFields, PutFields, RangeFields } from "./requests.js";

const keyBytesShown = 256;

function quoted(bytes: Uint8Array, start: number, end: number): string {
  const shown = Math.min(end, start + keyBytesShown);
  return JSON.stringify(Buffer.from(bytes.buffer, bytes.byteOffset + start, shown - start).toString("latin1"));
}

function describePut(bytes: Uint8Array, start: number, end: number): string {
  const put = new PutFields();
  put.read(bytes, start, end);
  return `put:<key:${quoted(bytes, put.keyStart, put.keyEnd)} value_size:${put.valueEnd - put.valueStart} >`;
}

function describeDelete(bytes: Uint8Array, start: number, end: number): string {
  const fields = new DeleteRangeFields();
  fields.read(bytes, start, end);
  const key = quoted(bytes, fields.keyStart, fields.keyEnd);
  return `delete_range:<key:${key} range_end:${quoted(bytes, fields.endStart, fields.endEnd)} >`;
}

/** A RangeRequest. */
export function describeRange(bytes: Uint8Array, start: number, end: number): string {
  const fields = new RangeFields();
  fields.read(bytes, start, end);
  const key = quoted(bytes, fields.keyStart, fields.keyEnd);
  const limit = fields.limit === 0 ? "" : ` limit:${fields.limit}`;
  return `key:${key} range_end:${quoted(bytes, fields.endStart, fields.endEnd)}${limit} `;
}

/** A TxnRequest: what its ops are. */
export function describeTxn(bytes: Uint8Array, start: number, end: number): string {
  const cursor = new FieldCursor();
  const op = new OpReader();
  const parts: string[] = [];
  cursor.reset(bytes, start, end);
  while (cursor.next() && parts.length < 16) {
    if (cursor.tag === TxnTag.Compare) parts.push("compare:<>");
    if (cursor.tag !== TxnTag.Success && cursor.tag !== TxnTag.Failure) continue;
    op.read(bytes, cursor.start, cursor.end);
    const branch = cursor.tag === TxnTag.Success ? "success" : "failure";
    parts.push(`${branch}:<${describeOp(op, bytes)}>`);
  }
  return `txn:<${parts.join(" ")} >`;
}

function describeOp(op: OpReader, bytes: Uint8Array): string {
  switch (op.kind) {
    case OpKind.Put:
      return describePut(bytes, op.start, op.end);
    case OpKind.DeleteRange:
      return describeDelete(bytes, op.start, op.end);
    case OpKind.Range:
      return `range:<${describeRange(bytes, op.start, op.end)}>`;
    case OpKind.Txn:
      return "txn:<>";
    case OpKind.None:
      return "";
  }
}

/** The message of an InternalRaftRequest's variant. */
export function describeRequest(op: string, bytes: Uint8Array, start: number, end: number): string {
  if (op === "Put") return describePut(bytes, start, end);
  if (op === "DeleteRange") return describeDelete(bytes, start, end);
  if (op === "Txn") return describeTxn(bytes, start, end);
  return `${op} of ${end - start} bytes`;
}
