/**
 * Descriptors: what a message's fields are, for code that works on any message (JSON gateway, validation).
 * The tables are in gen/. References are by thunk because messages refer to one another in cycles.
 */

/** How a field is written. `…Number` are 64-bit fields that our code holds as `number`. */
export type FieldType =
  | "int32"
  | "uint32"
  | "int64"
  | "uint64"
  | "int64Number"
  | "uint64Number"
  | "bool"
  | "string"
  | "bytes"
  | "enum"
  | "message";

/** An enum's names; numbers without a name are legal in messages. */
export interface EnumDescriptor {
  readonly name: string;
  readonly byName: ReadonlyMap<string, number>;
  readonly byNumber: ReadonlyMap<number, string>;
}

export interface FieldDescriptor {
  readonly number: number;
  /** As declared: `range_end`. */
  readonly name: string;
  /** In lowerCamelCase, also the property of our interfaces: `rangeEnd`. */
  readonly jsonName: string;
  readonly type: FieldType;
  readonly repeated: boolean;
  /** The property of our interfaces that holds the oneof this field is of. */
  readonly oneof: string | undefined;
  /** A proto2 scalar: absent is not the same as zero. */
  readonly presence: boolean;
  readonly message: MessageDescriptor | undefined;
  readonly enum: EnumDescriptor | undefined;
}

export interface MessageDescriptor {
  /** With its package: `etcdserverpb.PutRequest`. */
  readonly name: string;
  /** In order of field numbers. */
  readonly fields: readonly FieldDescriptor[];
  readonly byNumber: ReadonlyMap<number, FieldDescriptor>;
  /** Under both names of each field. */
  readonly byName: ReadonlyMap<string, FieldDescriptor>;
}

/** What a service's method is, in the order of the .proto files. */
export interface MethodDescriptor {
  /** "/etcdserverpb.KV/Put" */
  readonly path: string;
  readonly service: string;
  readonly name: string;
  readonly clientStreams: boolean;
  readonly serverStreams: boolean;
  readonly request: MessageDescriptor;
  readonly response: MessageDescriptor;
}

/** A field in the generated tables: number, name, type, and what is not the usual. */
export type FieldRow = readonly [
  number: number,
  name: string,
  type: FieldType,
  more?: {
    readonly repeated?: true;
    readonly presence?: true;
    readonly oneof?: string;
    readonly of?: () => MessageDescriptor | EnumDescriptor;
  },
];

/** "range_end" → "rangeEnd": protobuf's rule for JSON names. */
export function lowerCamelCase(name: string): string {
  return name.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase()).replaceAll("_", "");
}

/** Makes a message's descriptor; the references are followed at first use. */
export function describeMessage(name: string, rows: readonly FieldRow[]): MessageDescriptor {
  const fields = rows.map((row) => new Field(row));
  const byName = new Map<string, FieldDescriptor>();
  for (const field of fields) byName.set(field.jsonName, field).set(field.name, field);
  return { name, fields, byNumber: new Map(fields.map((field) => [field.number, field])), byName };
}

/** Makes an enum's descriptor from its table of values. */
export function describeEnum(name: string, values: Readonly<Record<string, number>>): EnumDescriptor {
  const entries = Object.entries(values);
  return { name, byName: new Map(entries), byNumber: new Map(entries.map(([key, value]) => [value, key])) };
}

class Field implements FieldDescriptor {
  readonly number: number;
  readonly name: string;
  readonly jsonName: string;
  readonly type: FieldType;
  readonly repeated: boolean;
  readonly oneof: string | undefined;
  readonly presence: boolean;
  readonly #of: (() => MessageDescriptor | EnumDescriptor) | undefined;

  constructor([number, name, type, more]: FieldRow) {
    this.number = number;
    this.name = name;
    this.jsonName = lowerCamelCase(name);
    this.type = type;
    this.repeated = more?.repeated ?? false;
    this.oneof = more?.oneof;
    this.presence = more?.presence ?? false;
    this.#of = more?.of;
  }

  get message(): MessageDescriptor | undefined {
    return this.type === "message" ? (this.#of?.() as MessageDescriptor) : undefined;
  }

  get enum(): EnumDescriptor | undefined {
    return this.type === "enum" ? (this.#of?.() as EnumDescriptor) : undefined;
  }
}
