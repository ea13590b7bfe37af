/** The code of a message's two interfaces, and of the function that makes an empty one. */
import { nameOf, oneofsOf, plan, scalarType, type FieldPlan, type MessageType } from "./plan.js";

function zeroOf(field: FieldPlan): string {
  if (field.repeated) return "[]";
  if (field.presence) return "undefined";
  switch (field.type) {
    case "message":
      return "undefined";
    case "bytes":
      return "wire.emptyBytes";
    case "string":
      return '""';
    case "bool":
      return "false";
    case "int64":
    case "uint64":
      return "0n";
    default:
      return "0";
  }
}

function oneofType(fields: readonly FieldPlan[], oneof: string, suffix: string): string {
  const cases = fields.filter((field) => field.oneof === oneof);
  return cases.map((field) => `{ case: "${field.property}"; value: ${scalarType(field, suffix)} }`).join(" | ");
}

export function interfaces(type: MessageType): string {
  const fields = plan(type);
  const full: string[] = [];
  const init: string[] = [];
  for (const field of fields) {
    if (field.oneof !== undefined) continue;
    const one = scalarType(field, "");
    const absent = (field.type === "message" || field.presence) && !field.repeated;
    full.push(`${field.property}: ${field.repeated ? `${one}[]` : one}${absent ? " | undefined" : ""};`);
    const oneInit = scalarType(field, "Init");
    init.push(`${field.property}?: ${field.repeated ? `readonly ${oneInit}[]` : oneInit} | undefined;`);
  }
  for (const oneof of oneofsOf(fields)) {
    full.push(`${oneof}: ${oneofType(fields, oneof, "")} | undefined;`);
    init.push(`${oneof}?: ${oneofType(fields, oneof, "Init")} | undefined;`);
  }
  const name = nameOf(type);
  const body = (lines: readonly string[]): string => (lines.length === 0 ? "{}" : `{\n${lines.join("\n")}\n}`);
  const empty = (kind: string): string => `export type ${kind} = Record<never, never>;`;
  return fields.length === 0
    ? `${empty(name)}\n${empty(`${name}Init`)}\n`
    : `export interface ${name} ${body(full)}\nexport interface ${name}Init ${body(init)}\n`;
}

export function newFunction(type: MessageType): string {
  const fields = plan(type);
  const parts = fields.filter((f) => f.oneof === undefined).map((f) => `${f.property}: ${zeroOf(f)}`);
  parts.push(...oneofsOf(fields).map((oneof) => `${oneof}: undefined`));
  return `export function new${nameOf(type)}(): ${nameOf(type)} { return { ${parts.join(", ")} }; }\n`;
}
