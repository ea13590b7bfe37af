/** What the generator knows of fields and names: the choices that the code it writes follows. */
import protobuf from "protobufjs";
import { lowerCamelCase, type FieldType } from "../../src/proto/descriptor.js";

export type MessageType = protobuf.Type;

export const wireTypeOf: Readonly<Record<FieldType, number>> = {
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

/** A field as the generator sees it. */
export interface FieldPlan {
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

export function plan(type: MessageType): FieldPlan[] {
  return type.fieldsArray.map(planField).toSorted((a, b) => a.number - b.number);
}

/** The name in TypeScript; a nested `Type` takes its parent's name along, and too plain a name is told apart. */
export function nameOf(type: protobuf.ReflectionObject): string {
  if (type.fullName === ".raftpb.Message") return "RaftMessage";
  return type.name === "Type" ? `${type.parent!.name}Type` : type.name;
}

/** "etcdserverpb.PutRequest" */
export function fullNameOf(type: protobuf.ReflectionObject): string {
  return type.fullName.slice(1);
}

export function scalarType(field: FieldPlan, suffix: string): string {
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

export function oneofsOf(fields: readonly FieldPlan[]): string[] {
  return [...new Set(fields.flatMap((field) => (field.oneof === undefined ? [] : [field.oneof])))];
}
