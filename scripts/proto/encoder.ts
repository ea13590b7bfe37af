/** The code that measures and writes a message. */
import { nameOf, plan, wireTypeOf, type FieldPlan, type MessageType } from "./plan.js";

function tagOf(field: FieldPlan): number {
  return field.number * 8 + (field.packed ? 2 : wireTypeOf[field.type]);
}

function varintLength(value: number): number {
  return value < 0x80 ? 1 : 1 + varintLength(Math.floor(value / 128));
}

function sizeValue(field: FieldPlan, value: string): string {
  switch (field.type) {
    case "message":
      return `wire.sizeDelimited(size${nameOf(field.of!)}(${value}))`;
    case "bytes":
      return `wire.sizeDelimited(${value}.length)`;
    case "string":
      return `wire.sizeString(${value})`;
    case "bool":
      return "1";
    case "int64":
    case "uint64":
      return `wire.sizeVarint64(${value})`;
    default:
      return `wire.sizeVarint(${value})`;
  }
}

function writeValue(field: FieldPlan, value: string): string {
  switch (field.type) {
    case "message": {
      const name = nameOf(field.of!);
      return `at = wire.writeVarint(size${name}(${value}), bytes, at); at = write${name}(${value}, bytes, at);`;
    }
    case "bytes":
      return `at = wire.writeBytes(${value}, bytes, at);`;
    case "string":
      return `at = wire.writeString(${value}, bytes, at);`;
    case "bool":
      return `bytes[at++] = ${value} ? 1 : 0;`;
    case "int64":
    case "uint64":
      return `at = wire.writeVarint64(${value}, bytes, at);`;
    default:
      return `at = wire.writeVarint(${value}, bytes, at);`;
  }
}

function writeTag(tag: number): string {
  return tag < 0x80 ? `bytes[at++] = ${tag};` : `at = wire.writeVarint(${tag}, bytes, at);`;
}

/** When a field that is not in a oneof is written at all. */
function isWritten(field: FieldPlan): string {
  const value = `m.${field.property}`;
  if (field.presence || field.type === "message") return `${value} !== undefined`;
  switch (field.type) {
    case "bytes":
    case "string":
      return `${value} !== undefined && ${value}.length > 0`;
    case "bool":
      return value;
    case "int64":
    case "uint64":
      return `${value} !== undefined && ${value} !== 0n`;
    default:
      return `${value} !== undefined && ${value} !== 0`;
  }
}

/** `size` or `write` statements of one field; `one` makes those of a single value. */
function eachValue(field: FieldPlan, one: (value: string) => string): string {
  if (field.oneof !== undefined) {
    const held = `m.${field.oneof}`;
    return `if (${held}?.case === "${field.property}") { ${one(`${held}.value`)} }`;
  }
  if (field.repeated) return `if (m.${field.property}) for (const value of m.${field.property}) { ${one("value")} }`;
  return `if (${isWritten(field)}) { ${one(`m.${field.property}`)} }`;
}

function sizeStatement(field: FieldPlan): string {
  const tagBytes = varintLength(tagOf(field));
  if (!field.packed) return eachValue(field, (value) => `size += ${tagBytes} + ${sizeValue(field, value)};`);
  const list = `m.${field.property}`;
  return (
    `if (${list} && ${list}.length > 0) { let packed = 0; for (const value of ${list})` +
    ` packed += ${sizeValue(field, "value")}; size += ${tagBytes} + wire.sizeDelimited(packed); }`
  );
}

function writeStatement(field: FieldPlan): string {
  if (!field.packed) return eachValue(field, (value) => `${writeTag(tagOf(field))} ${writeValue(field, value)}`);
  const list = `m.${field.property}`;
  return (
    `if (${list} && ${list}.length > 0) { ${writeTag(tagOf(field))} let packed = 0; for (const value of ${list})` +
    ` packed += ${sizeValue(field, "value")}; at = wire.writeVarint(packed, bytes, at);` +
    ` for (const value of ${list}) { ${writeValue(field, "value")} } }`
  );
}

/** Fields are written in order of their numbers, those of a oneof last, as Go does. */
export function encodeFunctions(type: MessageType): string {
  const name = nameOf(type);
  const fields = plan(type).toSorted((a, b) => Number(a.oneof !== undefined) - Number(b.oneof !== undefined));
  const encode =
    `export function encode${name}(m: ${name}Init): Uint8Array {` +
    ` const bytes = new Uint8Array(size${name}(m)); write${name}(m, bytes, 0); return bytes; }\n`;
  if (fields.length === 0) {
    return (
      `export function size${name}(_: ${name}Init): number { return 0; }\n` +
      `export function write${name}(_: ${name}Init, _bytes: Uint8Array, at: number): number { return at; }\n${encode}`
    );
  }
  return (
    `export function size${name}(m: ${name}Init): number { let size = 0;\n` +
    `${fields.map(sizeStatement).join("\n")}\nreturn size; }\n` +
    `export function write${name}(m: ${name}Init, bytes: Uint8Array, at: number): number {\n` +
    `${fields.map(writeStatement).join("\n")}\nreturn at; }\n${encode}`
  );
}
