/**
 * Writes src/proto/gen/ from src/proto/*.proto: interfaces, decoders, encoders and descriptor tables.
 *
 *   node generate-proto.js            writes src/proto/gen/
 *   node generate-proto.js --check    exits 1 when src/proto/gen/ is not what would be written
 *
 * protobufjs parses; the code is our own because a field must be `number` or `bigint` by choice, values saturate,
 * and what is accepted must be what Go's parser accepts (see src/proto/wire.ts).
 */
import { execFileSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { tmpdir } from "node:os";
import protobuf from "protobufjs";
import { lowerCamelCase, type FieldType } from "../src/proto/descriptor.js";

type MessageType = protobuf.Type;

/** One .proto file: what it declares, in order. */
interface Source {
  readonly name: string;
  readonly namespace: protobuf.Namespace;
  readonly messages: MessageType[];
  readonly enums: protobuf.Enum[];
}

const wireTypeOf: Readonly<Record<FieldType, number>> = {
  int32: 0,
  uint32: 0,
  int64: 0,
  uint64: 0,
  int64Number: 0,
  uint64Number: 0,
  bool: 0,
  enum: 0,
  string: 2,
  bytes: 2,
  message: 2,
};
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

/** A field as the generator sees it. */
interface FieldPlan {
  readonly number: number;
  readonly name: string;
  readonly property: string;
  readonly type: FieldType;
  readonly repeated: boolean;
  readonly packed: boolean;
  readonly presence: boolean;
  readonly oneof: string | undefined;
  readonly of: protobuf.Type | protobuf.Enum | undefined;
}

function fieldType(field: protobuf.Field): FieldType {
  if (field.resolvedType instanceof protobuf.Type) return "message";
  if (field.resolvedType instanceof protobuf.Enum) return "enum";
  const number = field.options?.["jstype"] === "JS_NUMBER";
  switch (field.type) {
    case "int64":
      return number ? "int64Number" : "int64";
    case "uint64":
      return number ? "uint64Number" : "uint64";
    case "int32":
    case "uint32":
    case "bool":
    case "string":
    case "bytes":
      return field.type;
    default:
      throw new Error(`${field.fullName}: the generator has no type ${field.type}`);
  }
}

function planField(field: protobuf.Field): FieldPlan {
  const type = fieldType(field);
  return {
    number: field.id,
    name: field.name,
    property: lowerCamelCase(field.name),
    type,
    repeated: field.repeated,
    packed: field.repeated && field.packed && wireTypeOf[type] === 0,
    presence: field.hasPresence === true && type !== "message" && !field.partOf,
    oneof: field.partOf ? lowerCamelCase(field.partOf.name) : undefined,
    of: (field.resolvedType as protobuf.Type | protobuf.Enum | null) ?? undefined,
  };
}

function plan(type: MessageType): FieldPlan[] {
  return type.fieldsArray.map(planField).toSorted((a, b) => a.number - b.number);
}

/** The name in TypeScript; a nested `Type` takes its parent's name along, and too plain a name is told apart. */
function nameOf(type: protobuf.ReflectionObject): string {
  if (type.fullName === ".raftpb.Message") return "RaftMessage";
  return type.name === "Type" ? `${type.parent!.name}Type` : type.name;
}

/** "etcdserverpb.PutRequest" */
function fullNameOf(type: protobuf.ReflectionObject): string {
  return type.fullName.slice(1);
}

function scalarType(field: FieldPlan, suffix: string): string {
  switch (field.type) {
    case "message":
      return nameOf(field.of!) + suffix;
    case "bytes":
      return "Uint8Array";
    case "string":
      return "string";
    case "bool":
      return "boolean";
    case "int64":
    case "uint64":
      return "bigint";
    default:
      return "number";
  }
}

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

function oneofsOf(fields: readonly FieldPlan[]): string[] {
  return [...new Set(fields.flatMap((field) => (field.oneof === undefined ? [] : [field.oneof])))];
}

function oneofType(fields: readonly FieldPlan[], oneof: string, suffix: string): string {
  const cases = fields.filter((field) => field.oneof === oneof);
  return cases.map((field) => `{ case: "${field.property}"; value: ${scalarType(field, suffix)} }`).join(" | ");
}

function interfaces(type: MessageType): string {
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

function newFunction(type: MessageType): string {
  const fields = plan(type);
  const parts = fields.filter((f) => f.oneof === undefined).map((f) => `${f.property}: ${zeroOf(f)}`);
  parts.push(...oneofsOf(fields).map((oneof) => `${oneof}: undefined`));
  return `export function new${nameOf(type)}(): ${nameOf(type)} { return { ${parts.join(", ")} }; }\n`;
}

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

function mergeFunction(type: MessageType): string {
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

function decodeFunction(type: MessageType): string {
  const name = nameOf(type);
  return (
    `export function decode${name}(bytes: Uint8Array, start = 0, end = bytes.length): ${name} {` +
    ` const m = new${name}(); merge${name}(m, new wire.WireReader(bytes, start), end); return m; }\n`
  );
}

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
function encodeFunctions(type: MessageType): string {
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

function descriptor(type: MessageType): string {
  const rows = plan(type).map((field) => {
    const more: string[] = [];
    if (field.repeated) more.push("repeated: true");
    if (field.presence) more.push("presence: true");
    if (field.oneof !== undefined) more.push(`oneof: "${field.oneof}"`);
    if (field.of) more.push(`of: () => ${nameOf(field.of)}Descriptor`);
    return `[${field.number}, "${field.name}", "${field.type}"${more.length > 0 ? `, { ${more.join(", ")} }` : ""}]`;
  });
  return (
    `export const ${nameOf(type)}Descriptor: Described = describeMessage("${fullNameOf(type)}",` +
    ` [${rows.join(",\n")}]);\n`
  );
}

function enumCode(type: protobuf.Enum): string {
  const name = nameOf(type);
  const values = Object.entries(type.values).map(([key, value]) => `${key}: ${value}`);
  return (
    `/** Fields hold any number; these have names. */\nexport const ${name} = { ${values.join(", ")} } as const;\n` +
    `export const ${name}Descriptor: EnumDescriptor = describeEnum("${fullNameOf(type)}", ${name});\n`
  );
}

const heading = "// Generated by scripts/generate-proto.ts; do not edit.\n";

/** What `source` uses of other files: import lines. */
function imports(source: Source, home: ReadonlyMap<protobuf.ReflectionObject, string>): string {
  const wanted = new Map<string, Set<string>>();
  for (const type of source.messages) {
    for (const { of } of plan(type)) {
      const file = of && home.get(of);
      if (of === undefined || file === undefined || file === source.name) continue;
      const names = wanted.get(file) ?? new Set();
      wanted.set(file, names);
      const name = nameOf(of);
      names.add(`${name}Descriptor`);
      if (of instanceof protobuf.Type) {
        names.add(`type ${name}`).add(`type ${name}Init`);
        for (const verb of ["new", "merge", "size", "write"]) names.add(verb + name);
      }
    }
  }
  const lines = [...wanted].map(([file, names]) => `import { ${[...names].join(", ")} } from "./${file}.js";\n`);
  const kinds = ["describeMessage", "type MessageDescriptor as Described"];
  if (source.enums.length > 0) kinds.push("describeEnum", "type EnumDescriptor");
  return (
    `import { ${kinds.join(", ")} } from "../descriptor.js";\n` +
    `import * as wire from "../wire.js";\n${lines.join("")}`
  );
}

function fileCode(source: Source, home: ReadonlyMap<protobuf.ReflectionObject, string>): string {
  const parts = [heading, imports(source, home), ...source.enums.map(enumCode)];
  for (const type of source.messages) {
    const functions = [newFunction, mergeFunction, decodeFunction, encodeFunctions, descriptor];
    parts.push(interfaces(type), ...functions.map((make) => make(type)));
  }
  return parts.join("\n");
}

function methodsCode(sources: readonly Source[], home: ReadonlyMap<protobuf.ReflectionObject, string>): string {
  const rows: string[] = [];
  const used = new Map<string, Set<string>>();
  const use = (type: protobuf.Type | null): string => {
    const file = home.get(type!)!;
    used.set(file, (used.get(file) ?? new Set()).add(`${nameOf(type!)}Descriptor`));
    return `${nameOf(type!)}Descriptor`;
  };
  for (const { namespace } of sources) {
    for (const service of namespace.nestedArray.filter((one) => one instanceof protobuf.Service)) {
      const name = fullNameOf(service);
      for (const method of service.methodsArray) {
        rows.push(
          `{ path: "/${name}/${method.name}", service: "${name}", name: "${method.name}",` +
            ` clientStreams: ${method.requestStream === true}, serverStreams: ${method.responseStream === true},` +
            ` request: ${use(method.resolvedRequestType)}, response: ${use(method.resolvedResponseType)} }`,
        );
      }
    }
  }
  const lines = [...used].map(([file, names]) => `import { ${[...names].join(", ")} } from "./${file}.js";\n`);
  return (
    `${heading}import type { MethodDescriptor } from "../descriptor.js";\n${lines.join("")}\n` +
    `/** Every method of every service. */\nexport const methods: readonly MethodDescriptor[] = [${rows.join(",\n")}];\n`
  );
}

function indexCode(sources: readonly Source[]): string {
  const lines = sources.map((source) => {
    const names = source.enums.flatMap((type) => [nameOf(type), `${nameOf(type)}Descriptor`]);
    for (const type of source.messages) {
      const name = nameOf(type);
      names.push(`type ${name}`, `type ${name}Init`, `${name}Descriptor`);
      names.push(...["new", "merge", "decode", "size", "write", "encode"].map((verb) => verb + name));
    }
    return `export { ${names.join(", ")} } from "./${source.name}.js";\n`;
  });
  return `${heading}${lines.join("")}export { methods } from "./methods.js";\n`;
}

function read(folder: string): Source[] {
  const root = new protobuf.Root();
  const names = readdirSync(folder)
    .filter((file) => file.endsWith(".proto"))
    .map((file) => file.slice(0, -".proto".length))
    .toSorted();
  const packages = names.map((name) => {
    const text = readFileSync(join(folder, `${name}.proto`), "utf8");
    return protobuf.parse(text, root, { keepCase: true }).package!;
  });
  root.resolveAll();
  return names.map((name, i) => {
    const namespace = root.lookup(packages[i]!) as protobuf.Namespace;
    const messages = namespace.nestedArray.filter((one) => one instanceof protobuf.Type);
    const enums = namespace.nestedArray.filter((one) => one instanceof protobuf.Enum);
    const nested = messages.flatMap((type) => type.nestedArray.filter((one) => one instanceof protobuf.Enum));
    return { name, namespace, messages, enums: [...enums, ...nested] };
  });
}

function packageRoot(): string {
  let folder = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(folder, "package.json"))) folder = dirname(folder);
  return folder;
}

/** Writes all files into `folder` and formats them. */
function generate(root: string, folder: string): void {
  const sources = read(join(root, "src", "proto"));
  const home = new Map<protobuf.ReflectionObject, string>();
  for (const source of sources) for (const type of [...source.messages, ...source.enums]) home.set(type, source.name);
  for (const source of sources) writeFileSync(join(folder, `${source.name}.ts`), fileCode(source, home));
  writeFileSync(join(folder, "methods.ts"), methodsCode(sources, home));
  writeFileSync(join(folder, "index.ts"), indexCode(sources));
  execFileSync(join(root, "node_modules", ".bin", "oxfmt"), ["-c", join(root, ".oxfmtrc.json"), folder]);
}

function differs(ours: string, theirs: string): string[] {
  const names = new Set([...readdirSync(ours), ...readdirSync(theirs)]);
  const text = (folder: string, name: string): string | undefined =>
    existsSync(join(folder, name)) ? readFileSync(join(folder, name), "utf8") : undefined;
  return [...names].filter((name) => text(ours, name) !== text(theirs, name));
}

function main(): void {
  const root = packageRoot();
  const target = join(root, "src", "proto", "gen");
  const folder = mkdtempSync(join(tmpdir(), "etcd-ts-proto-"));
  try {
    generate(root, folder);
    if (process.argv.includes("--check")) {
      const changed = existsSync(target) ? differs(target, folder) : ["gen/"];
      if (changed.length === 0) return;
      console.error(`src/proto/gen is not current (npm run generate): ${changed.join(", ")}`);
      process.exitCode = 1;
      return;
    }
    rmSync(target, { recursive: true, force: true });
    mkdirSync(target);
    cpSync(folder, target, { recursive: true });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

main();
