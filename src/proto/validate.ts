/**
 * Says whether Go's parser (protobuf-go 1.36) would take some bytes as a message, and with which text it refuses them.
 * An entry that another member cannot parse would end that member, so nothing unparsable may be proposed; and clients
 * see the text. Fuzzed against the Go parser in test/fuzz/.
 * Works without recursion and without objects a message: clients choose how deep messages nest.
 * Any thread; not reentrant.
 */
import { isUtf8 } from "node:buffer";
import type { FieldDescriptor, MessageDescriptor } from "./descriptor.js";
import {
  depthMax,
  fieldNumberMax,
  invalidUtf8,
  invalidWireFormat,
  recursionTooDeep,
  skipBytes,
  skipField,
  skipVarint,
} from "./wire.js";

const Kind = { Unknown: 0, Varint: 1, Varints: 2, Bytes: 3, String: 4, Message: 5 } as const;

/** What the loop needs of a message type: kinds by field number, and sub-messages' plans made when first met. */
interface Plan {
  readonly dense: Uint8Array;
  readonly descriptor: MessageDescriptor;
  readonly sub: Map<number, Plan>;
}

const denseNumberMax = 127;
const plans = new Map<MessageDescriptor, Plan>();
/** Ends and plans of the messages that are open around the innermost one. */
const ends: number[] = [];
const open: Plan[] = [];
let deepest = 0;

function kindOf(field: FieldDescriptor | undefined): number {
  switch (field?.type) {
    case undefined:
      return Kind.Unknown;
    case "string":
      return Kind.String;
    case "bytes":
      return Kind.Bytes;
    case "message":
      return Kind.Message;
    default:
      return field?.repeated ? Kind.Varints : Kind.Varint;
  }
}

function planOf(descriptor: MessageDescriptor): Plan {
  const known = plans.get(descriptor);
  if (known) return known;
  const dense = new Uint8Array(denseNumberMax + 1);
  for (const field of descriptor.fields) if (field.number <= denseNumberMax) dense[field.number] = kindOf(field);
  const plan: Plan = { dense, descriptor, sub: new Map() };
  plans.set(descriptor, plan);
  return plan;
}

function subPlan(plan: Plan, number: number): Plan {
  const known = plan.sub.get(number);
  if (known) return known;
  const made = planOf(plan.descriptor.byNumber.get(number)!.message!);
  plan.sub.set(number, made);
  return made;
}

/** Undefined when `bytes[start, end)` parses as `descriptor`; else the parser's text. */
export function validate(
  descriptor: MessageDescriptor,
  bytes: Uint8Array,
  start = 0,
  end = bytes.length,
): string | undefined {
  const text = walk(planOf(descriptor), bytes, start, end);
  ends.length = 0;
  open.length = 0;
  if (text === undefined || text === invalidUtf8) return text;
  return `proto: ${text}`;
}

/** How many messages deep the message validated last was; 1 without sub-messages. */
export function validatedDepth(): number {
  return deepest;
}

function walk(plan: Plan, bytes: Uint8Array, at: number, end: number): string | undefined {
  deepest = 1;
  for (;;) {
    while (at >= end) {
      if (ends.length === 0) return undefined;
      end = ends.pop()!;
      plan = open.pop()!;
    }
    const tag = readTag(bytes, at, end);
    if (tag < 0) return invalidWireFormat;
    at = skipVarint(bytes, at, end);
    const number = tag >>> 3;
    const type = tag & 7;
    const kind = number <= denseNumberMax ? plan.dense[number]! : kindOf(plan.descriptor.byNumber.get(number));
    if (type === 2 && kind >= Kind.Varints) {
      const stop = skipBytes(bytes, at, end);
      if (stop < 0) return invalidWireFormat;
      if (kind === Kind.Message) {
        if (ends.length + 2 > depthMax) return recursionTooDeep;
        ends.push(end);
        open.push(plan);
        if (ends.length >= deepest) deepest = ends.length + 1;
        plan = subPlan(plan, number);
        at = skipVarint(bytes, at, end);
        end = stop;
        continue;
      }
      const from = kind === Kind.Bytes ? stop : skipVarint(bytes, at, end);
      if (kind === Kind.String && from < stop && !isUtf8(bytes.subarray(from, stop))) return invalidUtf8;
      if (kind === Kind.Varints && !areVarints(bytes, from, stop)) return invalidWireFormat;
      at = stop;
      continue;
    }
    at = skipField(bytes, at, end, tag);
    if (at < 0) return invalidWireFormat;
  }
}

/** The tag at `at` as an unsigned 32-bit number; -1 when it is malformed. */
function readTag(bytes: Uint8Array, at: number, end: number): number {
  const first = bytes[at]!;
  if (first < 0x80) return first < 8 ? -1 : first;
  const tagEnd = skipVarint(bytes, at, end);
  if (tagEnd < 0) return -1;
  let tag = 0;
  for (let i = tagEnd - 1; i >= at; i--) tag = tag * 128 + (bytes[i]! & 0x7f);
  const number = Math.floor(tag / 8);
  return number < 1 || number > fieldNumberMax ? -1 : tag;
}

function areVarints(bytes: Uint8Array, at: number, end: number): boolean {
  while (at >= 0 && at < end) at = skipVarint(bytes, at, end);
  return at === end;
}
