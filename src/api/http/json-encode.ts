/**
 * A response message as JSON, by protojson's rules: names as declared, zeros left out, sub-messages printed even if
 * empty, 64-bit integers as strings, enums by name, bytes in standard base64, `", "` between values as etcd's build
 * has it. Streams are compact, so the separator is a parameter.
 * Responses are our own: fields come in order of their numbers and each single field once.
 */
import { type FieldDescriptor, type MessageDescriptor, WireReader } from "../../proto/index.js";

/** Text is collected in pieces of this size, so that a response may be longer than a string can be. */
const pieceLengthMax = 1 << 22;

/** A message that is not as our own server writes it. */
export class EncodeJsonError extends Error {
  override readonly name = "EncodeJsonError";
}

/** The message as UTF-8. */
export function encodeJson(descriptor: MessageDescriptor, message: Uint8Array, separator = ", "): Uint8Array {
  const writer = new JsonWriter(message, separator);
  writer.message(descriptor, message.length);
  return writer.finish();
}

class JsonWriter {
  readonly #message: Uint8Array;
  readonly #reader: WireReader;
  readonly #separator: string;
  readonly #pieces: Buffer[] = [];
  #text = "";

  constructor(message: Uint8Array, separator: string) {
    this.#message = message;
    this.#reader = new WireReader(message, 0);
    this.#separator = separator;
  }

  finish(): Uint8Array {
    this.#flush();
    return this.#pieces.length === 1 ? this.#pieces[0]! : Buffer.concat(this.#pieces);
  }

  /** Writes the message that ends at `end`. */
  message(descriptor: MessageDescriptor, end: number): void {
    const reader = this.#reader;
    this.#text += "{";
    let last = 0;
    let isFirst = true;
    while (reader.at < end) {
      const tag = reader.tag(end);
      const field = descriptor.byNumber.get(tag >>> 3);
      if (!field) {
        reader.skip(tag, end);
        continue;
      }
      const isMore = field.number === last && field.repeated;
      if (field.number <= last && !isMore) throw new EncodeJsonError(`${descriptor.name}: fields out of order`);
      const before = this.#text.length;
      if (isMore) this.#text += this.#separator;
      else this.#head(field, isFirst, last > 0 && isListOpen(descriptor, last));
      const isWritten = this.#values(field, tag, end);
      if (!isWritten) {
        this.#text = this.#text.slice(0, before);
        continue;
      }
      last = field.number;
      isFirst = false;
      if (this.#text.length > pieceLengthMax) this.#flush();
    }
    this.#text += last > 0 && isListOpen(descriptor, last) ? "]}" : "}";
  }

  #head(field: FieldDescriptor, isFirst: boolean, closesList: boolean): void {
    if (closesList) this.#text += "]";
    if (!isFirst) this.#text += this.#separator;
    this.#text += field.repeated ? `"${field.name}":[` : `"${field.name}":`;
  }

  /** The value of one tag, or all values of a packed list; false when there was nothing to write. */
  #values(field: FieldDescriptor, tag: number, end: number): boolean {
    const reader = this.#reader;
    if (field.message) {
      const stop = reader.enter(end);
      this.message(field.message, stop);
      reader.leave();
      return true;
    }
    const isPacked = field.repeated && (tag & 7) === 2 && field.type !== "string" && field.type !== "bytes";
    if (!isPacked) return this.#scalar(field, end);
    const stop = reader.length(end);
    const isAny = reader.at < stop;
    while (reader.at < stop) {
      this.#scalar(field, stop);
      if (reader.at < stop) this.#text += this.#separator;
    }
    return isAny;
  }

  #scalar(field: FieldDescriptor, end: number): boolean {
    const text = this.#scalarText(field, end);
    if (text === undefined && !field.repeated && field.oneof === undefined) return false;
    this.#text += text ?? zeroText(field);
    return true;
  }

  /** The scalar's JSON; undefined for a zero. */
  #scalarText(field: FieldDescriptor, end: number): string | undefined {
    const reader = this.#reader;
    switch (field.type) {
      case "bool":
        return reader.bool(end) ? "true" : undefined;
      case "bytes": {
        const stop = reader.span(end);
        return stop === reader.spanStart ? undefined : `"${this.#base64(reader.spanStart, stop)}"`;
      }
      case "string": {
        const text = reader.string(end);
        return text === "" ? undefined : JSON.stringify(text);
      }
      case "enum": {
        const number = reader.int32(end);
        const name = field.enum!.byNumber.get(number);
        return number === 0 ? undefined : name === undefined ? String(number) : `"${name}"`;
      }
      case "int32":
      case "uint32": {
        const number = field.type === "int32" ? reader.int32(end) : reader.uint32(end);
        return number === 0 ? undefined : String(number);
      }
      default:
        return this.#integer64(field.type.startsWith("u"), end);
    }
  }

  /** Most 64-bit integers are small; the others take a bigint. */
  #integer64(isUnsigned: boolean, end: number): string | undefined {
    const reader = this.#reader;
    reader.varint(end);
    const { lo, hi } = reader;
    if ((lo | hi) === 0) return undefined;
    if (hi >>> 0 < 0x20_0000) return `"${(hi >>> 0) * 2 ** 32 + (lo >>> 0)}"`;
    return `"${(BigInt(isUnsigned ? hi >>> 0 : hi | 0) << 32n) | BigInt(lo >>> 0)}"`;
  }

  #base64(start: number, end: number): string {
    const { buffer, byteOffset } = this.#message;
    return Buffer.from(buffer, byteOffset + start, end - start).toString("base64");
  }

  #flush(): void {
    if (this.#text.length > 0 || this.#pieces.length === 0) this.#pieces.push(Buffer.from(this.#text));
    this.#text = "";
  }
}

function isListOpen(descriptor: MessageDescriptor, number: number): boolean {
  return descriptor.byNumber.get(number)!.repeated;
}

function zeroText(field: FieldDescriptor): string {
  switch (field.type) {
    case "bool":
      return "false";
    case "bytes":
    case "string":
      return '""';
    case "enum":
      return `"${field.enum!.byNumber.get(0) ?? 0}"`;
    case "int32":
    case "uint32":
      return "0";
    default:
      return '"0"';
  }
}
