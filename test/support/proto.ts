/**
 * Messages by name, through protobufjs and src/proto/*.proto: on purpose not our own codecs,
 * so that a mistake in those cannot hide itself.
 *
 * Plain form of a message: proto field names, 64-bit integers as decimal strings, bytes as base64,
 * enums as numbers; a field that is absent on the wire is absent here, and one that is there
 * with its default value is there.
 */
import { readdirSync } from "node:fs";
import { basename, join, relative } from "node:path";
import protobuf from "protobufjs";
import { packageRoot } from "./package-root.js";

/** A JSON value. */
export type Json = null | boolean | number | string | readonly Json[] | JsonObject;

/** A JSON object: the plain form of a message. */
export interface JsonObject {
  readonly [name: string]: Json;
}

/** TypeScript's own `Array.isArray` makes `any[]` of a read-only list. */
export const isJsonList = (value: Json | undefined): value is readonly Json[] => Array.isArray(value);

/** An object, and neither a list nor null. */
export const isJsonObject = (value: Json | undefined): value is JsonObject =>
  typeof value === "object" && value !== null && !Array.isArray(value);

const protoFiles = (folder: string): string[] =>
  readdirSync(folder, { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".proto"))
    .map((name) => join(folder, name));

const loadRoot = (): protobuf.Root => {
  const folder = join(packageRoot, "src", "proto");
  const files = protoFiles(folder);
  const root = new protobuf.Root();
  // Imports may name etcd's own paths ("etcd/api/mvccpb/kv.proto"): all files are loaded anyhow.
  root.resolvePath = (_origin, target) => {
    if (files.includes(target)) return target;
    const here = files.find((file) => relative(folder, file) === target || basename(file) === basename(target));
    return here ?? null;
  };
  root.loadSync(files, { keepCase: true });
  root.resolveAll();
  return root;
};

let loaded: protobuf.Root | undefined;

const typeOf = (name: string): protobuf.Type => {
  loaded ??= loadRoot();
  return loaded.lookupType(name);
};

/** Bytes of a message given in plain form; enums may also be given by name. */
export const encodeMessage = (name: string, plain: JsonObject): Buffer => {
  const type = typeOf(name);
  return Buffer.from(type.encode(type.fromObject(plain)).finish());
};

/** What a decoded message looked like on the wire. */
export interface Decoded {
  readonly plain: JsonObject;
  /** False when the bytes hold unknown fields or are not in the order and form that Go writes. */
  readonly canonical: boolean;
}

/** Decodes a message; throws when the bytes are not one. */
export const decodeMessage = (name: string, bytes: Uint8Array): Decoded => {
  const type = typeOf(name);
  const message = type.decode(bytes);
  const plain = type.toObject(message, { longs: String, bytes: String, enums: Number, oneofs: false });
  const again = Buffer.from(type.encode(message).finish());
  return { plain: plain as JsonObject, canonical: again.equals(bytes) };
};

/** Request and response type of an RPC, e.g. "etcdserverpb.KV", "Put". */
export const rpcTypes = (service: string, method: string): { request: string; response: string } => {
  loaded ??= loadRoot();
  const found = loaded.lookupService(service).methods[method];
  if (found === undefined) throw new Error(`no rpc ${service}/${method}`);
  found.resolve();
  const strip = (name: string): string => name.replace(/^\./, "");
  if (!found.resolvedRequestType || !found.resolvedResponseType) throw new Error(`${method} is unresolved`);
  return {
    request: strip(found.resolvedRequestType.fullName),
    response: strip(found.resolvedResponseType.fullName),
  };
};

/** Bytes, or a text's in UTF-8, as fields of bytes have them in plain form. */
export const base64 = (bytes: Uint8Array | string): string => Buffer.from(bytes as string).toString("base64");
