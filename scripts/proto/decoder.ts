/** The code that reads a message. */
import type { FieldType } from "../../src/proto/descriptor.js";
import { nameOf, plan, wireTypeOf, type FieldPlan, type MessageType } from "./plan.js";

const readerOf: Readonly<Record<Exclude<FieldType, "message">, string>> = {
  int32: "int32",
  uint32: "uint32",
  int64: "int64",
  uint64: "uint64",
  int64Number: "int64Number",
  uint64Number: "uint64Number",
  bool: "bool",
  enum: "int32",
  string: "string",
  bytes: "bytes",
};

/** The statements that read one value into the message `m`. */
function readValue(field: FieldPlan): string {
  const target = `m.${field.property}`;
  if (field.type !== "message") {
    const read = `r.${readerOf[field.type]}(end)`;
    if (field.oneof !== undefined) return `m.${field.oneof} = { case: "${field.property}", value: ${read} };`;
    return field.repeated ? `${target}.push(${read});` : `${target} = ${read};`;
  }
  const name = nameOf(field.of!);
  const into = `const stop = r.enter(end); merge${name}(value, r, stop); r.leave();`;
  if (field.repeated) return `const value = new${name}(); ${into} ${target}.push(value);`;
  if (field.oneof === undefined) return `const value = (${target} ??= new${name}()); ${into}`;
  const held = `m.${field.oneof}`;
  return (
    `const value = ${held}?.case === "${field.property}" ? ${held}.value : new${name}(); ${into}` +
    ` ${held} = { case: "${field.property}", value };`
  );
}

export function mergeFunction(type: MessageType): string {
  const cases: string[] = [];
  for (const field of plan(type)) {
    const wireType = wireTypeOf[field.type];
    cases.push(`case ${field.number * 8 + wireType}: { ${readValue(field)} break; }`);
    if (field.repeated && wireType === 0) {
      const read = `m.${field.property}.push(r.${readerOf[field.type as "enum"]}(stop));`;
      cases.push(`case ${field.number * 8 + 2}: { const stop = r.length(end); while (r.at < stop) ${read} break; }`);
    }
  }
  const name = nameOf(type);
  const m = cases.length === 0 ? "_" : "m";
  const body =
    cases.length === 0
      ? "while (r.at < end) r.skip(r.tag(end), end);"
      : `while (r.at < end) { const tag = r.tag(end); switch (tag) { ${cases.join("\n")}\ndefault: r.skip(tag, end); } }`;
  return `export function merge${name}(${m}: ${name}, r: wire.WireReader, end: number): void { ${body} }\n`;
}

export function decodeFunction(type: MessageType): string {
  const name = nameOf(type);
  return (
    `export function decode${name}(bytes: Uint8Array, start = 0, end = bytes.length): ${name} {` +
    ` const m = new${name}(); merge${name}(m, new wire.WireReader(bytes, start), end); return m; }\n`
  );
}
