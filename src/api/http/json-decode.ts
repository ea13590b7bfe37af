/**
 * A JSON body as a protobuf message, by protojson's rules and with its error texts (protobuf-go 1.36, unknown fields
 * and unknown enum names ignored): names as declared or in lowerCamelCase, 64-bit integers as numbers or strings, bytes
 * in either base64, null for "not set".
 * The message is written as Go would write it: fields in order of their numbers but those of a oneof
 * last, zeros left out.
 */
import {
  type FieldDescriptor,
  type MessageDescriptor,
  sizeVarint,
  sizeVarint64,
  writeBytes,
  writeVarint,
  writeVarint64,
} from "../../proto/index.js";
import { JsonReader, ProtoJsonError } from "./json-reader.js";
import { scanValue } from "./json-scan.js";
import { bytesOfBase64, type IntegerType, integerOf, integerOfString } from "./json-values.js";

/** A message being put together; its size is known once it is complete. */
interface Draft {
  readonly fields: DraftField[];
  size: number;
}

interface DraftField {
  readonly number: number;
  /** Wire type 0 for bigint, 2 for all others. */
  readonly value: bigint | Uint8Array | Draft | readonly bigint[];
  readonly size: number;
}

/** The message of a request's body; an empty body is an empty message. Throws JsonSyntaxError and ProtoJsonError. */
export function decodeJson(descriptor: MessageDescriptor, body: Uint8Array): Uint8Array {
  const span = scanValue(body);
  if (!span) return new Uint8Array(0);
  const reader = new JsonReader(body.subarray(span.start, span.end));
  const draft = readMessage(reader, descriptor);
  const bytes = new Uint8Array(draft.size);
  writeDraft(draft, bytes, 0);
  return bytes;
}

function readMessage(reader: JsonReader, descriptor: MessageDescriptor): Draft {
  reader.open("{");
  const fields: DraftField[] = [];
  const seen = new Set<number | string>();
  while (!reader.closes("}")) {
    const position = reader.position;
    const name = reader.name();
    const raw = reader.lastRaw;
    const field = descriptor.byName.get(name);
    if (!field) {
      reader.skipValue();
      continue;
    }
    if (seen.has(field.number)) throw reader.error(position, `duplicate field ${raw}`);
    seen.add(field.number);
    if (reader.takesNull()) continue;
    if (field.repeated) {
      readList(reader, field, fields);
      continue;
    }
    if (field.oneof !== undefined) {
      const oneof = `${descriptor.name}.${snakeCase(field.oneof)}`;
      if (seen.has(oneof)) throw reader.error(position, `error parsing ${raw}, oneof ${oneof} is already set`);
      seen.add(oneof);
    }
    const value = readValue(reader, field);
    if (value !== undefined && (field.oneof !== undefined || !isZero(value))) fields.push(draftField(field, value));
  }
  const isLate = ({ number }: DraftField): number => (descriptor.byNumber.get(number)!.oneof === undefined ? 0 : 1);
  fields.sort((a, b) => isLate(a) - isLate(b) || a.number - b.number);
  let size = 0;
  for (const field of fields) size += field.size;
  return { fields, size };
}

function readList(reader: JsonReader, field: FieldDescriptor, fields: DraftField[]): void {
  reader.open("[");
  const packed: bigint[] = [];
  while (!reader.closes("]")) {
    const value = readValue(reader, field);
    if (typeof value === "bigint") packed.push(value);
    else if (value !== undefined) fields.push(draftField(field, value));
  }
  if (packed.length === 0) return;
  let length = 0;
  for (const value of packed) length += sizeVarint64(value);
  fields.push({ number: field.number, value: packed, size: tagSize(field.number, 2) + sizeVarint(length) + length });
}

/** One value; undefined for an enum's unknown name. */
function readValue(reader: JsonReader, field: FieldDescriptor): bigint | Uint8Array | Draft | undefined {
  if (field.message) return readMessage(reader, field.message);
  const position = reader.position;
  const value = reader.scalar();
  const parsed = value === undefined ? invalid : scalarOf(field, value);
  if (parsed !== invalid) return parsed;
  const kind = goKind(field);
  throw reader.error(position, `invalid value for ${kind} field ${field.jsonName}: ${reader.lastRaw}`);
}

const invalid = Symbol("invalid");

/** A JSON scalar as the field's value: text is a string's content or a number's digits. */
function scalarOf(
  field: FieldDescriptor,
  { kind, text }: { kind: "string" | "number" | "bool"; text: string },
): bigint | Uint8Array | undefined | typeof invalid {
  switch (field.type) {
    case "bool":
      return kind === "bool" ? (text === "true" ? 1n : 0n) : invalid;
    case "string":
      return kind === "string" ? Buffer.from(text) : invalid;
    case "bytes":
      return kind === "string" ? (bytesOfBase64(text) ?? invalid) : invalid;
    case "enum": {
      if (kind === "number") return integerOf(text, "int32") ?? invalid;
      if (kind !== "string") return invalid;
      const number = field.enum!.byName.get(text);
      return number === undefined ? undefined : BigInt(number);
    }
    default: {
      const type = goKind(field) as IntegerType;
      if (kind === "bool") return invalid;
      return (kind === "number" ? integerOf(text, type) : integerOfString(text, type)) ?? invalid;
    }
  }
}

/** The type's name in Go's texts. */
function goKind(field: FieldDescriptor): string {
  return field.type.replace("Number", "");
}

/** "targetUnion" → "target_union" */
function snakeCase(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

function isZero(value: bigint | Uint8Array | Draft): boolean {
  return typeof value === "bigint" ? value === 0n : value instanceof Uint8Array && value.length === 0;
}

function tagSize(number: number, wireType: number): number {
  return sizeVarint(number * 8 + wireType);
}

function draftField(field: FieldDescriptor, value: bigint | Uint8Array | Draft): DraftField {
  const { number } = field;
  if (typeof value === "bigint") return { number, value, size: tagSize(number, 0) + sizeVarint64(value) };
  const length = value instanceof Uint8Array ? value.length : value.size;
  return { number, value, size: tagSize(number, 2) + sizeVarint(length) + length };
}

function writeDraft(draft: Draft, bytes: Uint8Array, at: number): number {
  for (const { number, value } of draft.fields) {
    at = writeVarint(number * 8 + (typeof value === "bigint" ? 0 : 2), bytes, at);
    if (typeof value === "bigint") at = writeVarint64(value, bytes, at);
    else if (value instanceof Uint8Array) at = writeBytes(value, bytes, at);
    else if ("fields" in value) at = writeDraft(value, bytes, writeVarint(value.size, bytes, at));
    else at = writePacked(value, bytes, at);
  }
  return at;
}

function writePacked(values: readonly bigint[], bytes: Uint8Array, at: number): number {
  let length = 0;
  for (const value of values) length += sizeVarint64(value);
  at = writeVarint(length, bytes, at);
  for (const value of values) at = writeVarint64(value, bytes, at);
  return at;
}

export { ProtoJsonError };
