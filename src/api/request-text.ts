/**
 * KV's requests as text, as etcd's log has them: keys are shown, of values only the sizes. etcd writes puts and compares
 * of values in one style of Go's protobuf packages and the rest in another, which differ in how bytes are quoted.
 * A request may be there in part: what is missing at its end is left out.
 */
import { isUtf8 } from "node:buffer";
import {
  CompareDescriptor,
  DeleteRangeRequestDescriptor,
  type FieldDescriptor,
  type MessageDescriptor,
  ProtoError,
  PutRequestDescriptor,
  RangeRequestDescriptor,
  RequestOpDescriptor,
  TxnRequestDescriptor,
  validate,
  WireReader,
} from "../proto/index.js";

/** Transactions within transactions are shown down to this depth; etcd refuses far fewer. */
const txnDepthMax = 32;

const requests: Readonly<Record<string, MessageDescriptor>> = {
  "/etcdserverpb.KV/Range": RangeRequestDescriptor,
  "/etcdserverpb.KV/Put": PutRequestDescriptor,
  "/etcdserverpb.KV/DeleteRange": DeleteRangeRequestDescriptor,
  "/etcdserverpb.KV/Txn": TxnRequestDescriptor,
};
const rangeField = RequestOpDescriptor.byName.get("request_range")!.number;
const putField = RequestOpDescriptor.byName.get("request_put")!.number;
const txnField = RequestOpDescriptor.byName.get("request_txn")!.number;
const valueField = CompareDescriptor.byName.get("value")!.number;
const successField = TxnRequestDescriptor.byName.get("success")!.number;
const failureField = TxnRequestDescriptor.byName.get("failure")!.number;

/** One field as it was sent: where its bytes are, or its number. */
export interface Sent {
  readonly field: FieldDescriptor;
  readonly start: number;
  readonly end: number;
  readonly number: bigint;
}

/** Whether a whole request, of a kind that is shown, is none that its method takes. */
export function isMalformed(path: string, request: Uint8Array, length: number): boolean {
  const descriptor = requests[path];
  if (descriptor === undefined || request.length < length) return false;
  return validate(descriptor, request, 0, length) !== undefined;
}

/** The text of the request, `length` bytes long, whose beginning is `request`; "" for methods outside KV. */
export function requestText(path: string, request: Uint8Array, length: number): string {
  const descriptor = requests[path];
  if (descriptor === undefined) return "";
  if (descriptor === TxnRequestDescriptor) return txnText(request, 0, length, 0);
  if (descriptor === PutRequestDescriptor) return sizedText(descriptor, request, 0, length);
  return messageText(descriptor, request, 0, length);
}

/** Bytes of the ops of a transaction's branch; of a request that is there in part, all its bytes. */
export function txnOpBytes(request: Uint8Array, length: number, succeeded: boolean): number {
  if (request.length < length) return length;
  const branch = succeeded ? successField : failureField;
  return sentFields(TxnRequestDescriptor, request, 0, length)
    .filter(({ field }) => field.number === branch)
    .reduce((sum, { start, end }) => sum + end - start, 0);
}

/** Whether a transaction, as far as it is there, has ranges alone in both branches; whether the branch taken puts. */
export function txnKinds(
  request: Uint8Array,
  length: number,
  succeeded: boolean,
): { isReadonly: boolean; hasPut: boolean } {
  const branch = succeeded ? successField : failureField;
  const kinds = { isReadonly: true, hasPut: false };
  for (const { field, start, end } of sentFields(TxnRequestDescriptor, request, 0, length)) {
    if (field.number !== successField && field.number !== failureField) continue;
    const [op] = setFields(RequestOpDescriptor, request, start, end);
    kinds.isReadonly &&= op?.field.number === rangeField;
    kinds.hasPut ||= field.number === branch && op?.field.number === putField;
  }
  return kinds;
}

/** The known fields in the order sent, as far as they are there. */
function sentFields(descriptor: MessageDescriptor, bytes: Uint8Array, start: number, end: number): Sent[] {
  const found: Sent[] = [];
  const reader = new WireReader(bytes, start);
  try {
    while (reader.at < Math.min(end, bytes.length)) {
      const tag = reader.tag(end);
      const field = descriptor.byNumber.get(tag >>> 3);
      const isSpan = field?.type === "bytes" || field?.type === "message";
      if (field === undefined || (tag & 7) !== (isSpan ? 2 : 0)) {
        reader.skip(tag, end);
      } else if (isSpan) {
        const stop = reader.span(end);
        found.push({ field, start: reader.spanStart, end: stop, number: 0n });
      } else {
        found.push({ field, start: 0, end: 0, number: reader.int64(end) });
      }
    }
  } catch (error) {
    if (!(error instanceof ProtoError)) throw error;
  }
  return found;
}

/** The fields that count, in order of their numbers: the last of each, and the last of a oneof. */
export function setFields(descriptor: MessageDescriptor, bytes: Uint8Array, start: number, end: number): Sent[] {
  const last = new Map<string, Sent>();
  for (const sent of sentFields(descriptor, bytes, start, end)) last.set(sent.field.oneof ?? sent.field.name, sent);
  const isSet = ({ field, number, start, end }: Sent): boolean =>
    field.oneof !== undefined || number !== 0n || end > start;
  return [...last.values()].filter(isSet).toSorted((a, b) => a.field.number - b.field.number);
}

function scalarText({ field, number }: Sent): string {
  if (field.type === "bool") return "true";
  return field.enum?.byNumber.get(Number(number)) ?? String(number);
}

/** As prototext writes a message on one line. */
function messageText(descriptor: MessageDescriptor, bytes: Uint8Array, start: number, end: number): string {
  const texts = setFields(descriptor, bytes, start, end).map((sent) => {
    const { field } = sent;
    if (field.message) return `${field.name}:{${messageText(field.message, bytes, sent.start, sent.end)}}`;
    if (field.type === "bytes") return `${field.name}:"${quoted(bytes.subarray(sent.start, sent.end))}"`;
    return `${field.name}:${scalarText(sent)}`;
  });
  return texts.join(" ");
}

/** As etcd writes what has a value: the value's size in its place, and a space after each field. */
function sizedText(descriptor: MessageDescriptor, bytes: Uint8Array, start: number, end: number): string {
  const texts = setFields(descriptor, bytes, start, end).map((sent) => {
    const { field } = sent;
    const size = sent.end - sent.start;
    if (field.name === "value") return size === 0 ? "" : `value_size:${size} `;
    if (field.type === "bytes") return `${field.name}:"${octalQuoted(bytes.subarray(sent.start, sent.end))}" `;
    return `${field.name}:${scalarText(sent)} `;
  });
  return texts.join("");
}

function txnText(bytes: Uint8Array, start: number, end: number, depth: number): string {
  const compares: string[] = [];
  const branches: { success: string[]; failure: string[] } = { success: [], failure: [] };
  for (const sent of sentFields(TxnRequestDescriptor, bytes, start, end)) {
    if (sent.field.number === successField) branches.success.push(opText(bytes, sent, depth));
    else if (sent.field.number === failureField) branches.failure.push(opText(bytes, sent, depth));
    else compares.push(compareText(bytes, sent));
  }
  const { success, failure } = branches;
  return `compare:<${compares.join(" ")}> success:<${success.join(" ")}> failure:<${failure.join(" ")}>`;
}

function compareText(bytes: Uint8Array, { start, end }: Sent): string {
  const hasValue = setFields(CompareDescriptor, bytes, start, end).some(({ field }) => field.number === valueField);
  return (hasValue ? sizedText : messageText)(CompareDescriptor, bytes, start, end);
}

function opText(bytes: Uint8Array, { start, end }: Sent, depth: number): string {
  const [op] = setFields(RequestOpDescriptor, bytes, start, end);
  if (op?.field.number === putField) return `request_put:<${sizedText(PutRequestDescriptor, bytes, op.start, op.end)}>`;
  if (op?.field.number !== txnField) return messageText(RequestOpDescriptor, bytes, start, end);
  return `request_txn:<${depth < txnDepthMax ? txnText(bytes, op.start, op.end, depth + 1) : "…"}>`;
}

const letters: Readonly<Record<string, string>> = { "\n": "\\n", "\r": "\\r", "\t": "\\t", '"': '\\"', "\\": "\\\\" };
const hex = (code: number, digits: number): string => code.toString(16).padStart(digits, "0");

/** Text as prototext quotes it, bytes that are no UTF-8 as \xNN. */
function quoted(bytes: Uint8Array): string {
  if (isUtf8(bytes)) return escaped(Buffer.from(bytes).toString());
  let text = "";
  for (let at = 0; at < bytes.length;) {
    const length = sequenceLength(bytes, at);
    if (length === 0) text += `\\x${hex(bytes[at]!, 2)}`;
    else text += escaped(Buffer.from(bytes.subarray(at, at + length)).toString());
    at += Math.max(length, 1);
  }
  return text;
}

/** Bytes of the character that starts here; 0 when none does. */
function sequenceLength(bytes: Uint8Array, at: number): number {
  const first = bytes[at]!;
  const length = first < 0x80 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
  return at + length <= bytes.length && isUtf8(bytes.subarray(at, at + length)) ? length : 0;
}

function escaped(text: string): string {
  // eslint-disable-next-line no-control-regex
  return text.replace(/[\x00-\x1f"\\\x7f-\x9f]/g, (character) => {
    const code = character.charCodeAt(0);
    return letters[character] ?? (code < 0x80 ? `\\x${hex(code, 2)}` : `\\u${hex(code, 4)}`);
  });
}

/** As the older package quotes bytes: what is not printable ASCII in octal. */
function octalQuoted(bytes: Uint8Array): string {
  return Buffer.from(bytes)
    .toString("latin1")
    .replace(/[^\x20-\x7e]|["\\]/g, (character) => {
      return letters[character] ?? `\\${character.charCodeAt(0).toString(8).padStart(3, "0")}`;
    });
}
