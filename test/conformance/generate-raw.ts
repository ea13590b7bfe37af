/**
 * Bad and odd input over gRPC: broken protobuf, broken frames, compressed messages, bad headers and
 * unknown methods. Everything here must be refused, or read, just as etcd does it.
 */
import { gzipSync } from "node:zlib";
import { base64, encodeMessage, frame, type JsonObject, type Prng } from "../support/index.js";
import { somePut, someRange, someTxn, type Context } from "./generate-kv.js";
import type { RawOperation, RpcName } from "./operation.js";

const raw = (
  note: string,
  path: string,
  body: Uint8Array,
  headers: Readonly<Record<string, string | null>> = {},
  rpc?: RpcName,
): RawOperation => ({
  kind: "raw",
  path,
  body: base64(body),
  headers,
  note,
  ...(rpc === undefined ? {} : { rpc }),
});

const rangePath = "/etcdserverpb.KV/Range";

/** A request that reads one key: harmless, whatever is done to its envelope. */
const smallRead = (): Buffer => encodeMessage("etcdserverpb.RangeRequest", { key: base64("a") });

interface Target {
  readonly rpc: RpcName;
  readonly message: string;
  readonly make: (context: Context) => JsonObject;
}

const targets: readonly Target[] = [
  { rpc: "etcdserverpb.KV/Range", message: "etcdserverpb.RangeRequest", make: someRange },
  { rpc: "etcdserverpb.KV/Put", message: "etcdserverpb.PutRequest", make: (context) => somePut(context) },
  { rpc: "etcdserverpb.KV/Txn", message: "etcdserverpb.TxnRequest", make: someTxn },
  {
    rpc: "etcdserverpb.Maintenance/HashKV",
    message: "etcdserverpb.HashKVRequest",
    make: ({ current }) => ({ revision: String(current) }),
  },
  { rpc: "etcdserverpb.Cluster/MemberList", message: "etcdserverpb.MemberListRequest", make: () => ({}) },
];

const varint = (value: bigint): Buffer => {
  const out: number[] = [];
  let rest = BigInt.asUintN(64, value);
  for (; rest > 127n; rest >>= 7n) out.push(Number(rest & 127n) | 128);
  out.push(Number(rest));
  return Buffer.from(out);
};

const field = (number: number, wireType: number, ...rest: readonly Buffer[]): Buffer =>
  Buffer.concat([varint(BigInt(number * 8 + wireType)), ...rest]);

const lengthDelimited = (number: number, bytes: Buffer): Buffer =>
  field(number, 2, varint(BigInt(bytes.length)), bytes);

/** Changes that leave a message readable, by Go's rules, or break it: which of the two is etcd's to say. */
const oddities: Readonly<Record<string, (prng: Prng, message: Buffer) => Buffer>> = {
  "cut short": (prng, m) => m.subarray(0, prng.below(m.length + 1)),
  "one byte changed": (prng, m) => {
    const copy = Buffer.from(m);
    if (copy.length > 0) copy[prng.below(copy.length)] = prng.below(256);
    return copy;
  },
  "random bytes": (prng) => prng.bytes(prng.between(1, 30)),
  "random bytes after": (prng, m) => Buffer.concat([m, prng.bytes(prng.between(1, 6))]),
  "unknown varint field": (prng, m) => Buffer.concat([m, field(prng.between(200, 5000), 0, varint(77n))]),
  "unknown bytes field": (prng, m) => Buffer.concat([m, lengthDelimited(prng.between(200, 5000), prng.bytes(3))]),
  "unknown fixed32 field": (_prng, m) => Buffer.concat([m, field(300, 5, Buffer.alloc(4, 1))]),
  "unknown fixed64 field": (_prng, m) => Buffer.concat([m, field(300, 1, Buffer.alloc(8, 1))]),
  "unknown field first": (_prng, m) => Buffer.concat([field(300, 0, varint(1n)), m]),
  "unknown group": (_prng, m) => Buffer.concat([m, field(301, 3), field(7, 0, varint(1n)), field(301, 4)]),
  "group not closed": (_prng, m) => Buffer.concat([m, field(301, 3), field(7, 0, varint(1n))]),
  "group closed wrongly": (_prng, m) => Buffer.concat([m, field(301, 3), field(302, 4)]),
  "end of a group alone": (_prng, m) => Buffer.concat([m, field(3, 4)]),
  "wire type 6": (_prng, m) => Buffer.concat([m, field(3, 6)]),
  "wire type 7": (_prng, m) => Buffer.concat([m, field(3, 7)]),
  "field number 0": (_prng, m) => Buffer.concat([m, field(0, 0, varint(1n))]),
  "field number too large": (_prng, m) => Buffer.concat([m, varint(BigInt(2 ** 29) * 8n), varint(1n)]),
  "key as varint": (_prng, m) => Buffer.concat([m, field(1, 0, varint(5n))]),
  "number as bytes": (_prng, m) => Buffer.concat([m, lengthDelimited(3, Buffer.from("zz"))]),
  "number as fixed64": (_prng, m) => Buffer.concat([m, field(4, 1, Buffer.alloc(8, 2))]),
  "key twice, the last wins": (_prng, m) => Buffer.concat([m, lengthDelimited(1, Buffer.from("b"))]),
  "message twice": (_prng, m) => Buffer.concat([m, m]),
  "varint of 10 bytes": (_prng, m) => Buffer.concat([m, field(3, 0, Buffer.from("ffffffffffffffffff01", "hex"))]),
  "varint of 11 bytes": (_prng, m) => Buffer.concat([m, field(3, 0, Buffer.from("ffffffffffffffffffff01", "hex"))]),
  "varint overflowing 64 bits": (_prng, m) =>
    Buffer.concat([m, field(3, 0, Buffer.from("ffffffffffffffffff7f", "hex"))]),
  "varint with useless bytes": (_prng, m) => Buffer.concat([m, field(3, 0, Buffer.from("81808000", "hex"))]),
  "bool of 2": (_prng, m) => Buffer.concat([m, field(7, 0, varint(2n))]),
  "bool of 2^32": (_prng, m) => Buffer.concat([m, field(7, 0, varint(1n << 32n))]),
  "enum over 32 bits": (_prng, m) => Buffer.concat([m, field(5, 0, varint(1n << 32n))]),
  "length too large": (_prng, m) => Buffer.concat([m, field(1, 2, varint(1000n)), Buffer.from("x")]),
  "length of 2^63": (_prng, m) => Buffer.concat([m, field(1, 2, varint(1n << 63n))]),
};

const oddMessage = (context: Context): RawOperation => {
  const { prng } = context;
  const target = prng.pick(targets);
  const note = prng.pick(Object.keys(oddities));
  const bytes = oddities[note]?.(prng, encodeMessage(target.message, target.make(context))) ?? Buffer.alloc(0);
  return raw(`${note} in ${target.message}`, `/${target.rpc}`, frame(bytes), {}, target.rpc);
};

/** A put that carries broken text or depth inside a txn: the parser must look into every part. */
const oddTxn = ({ prng }: Context): RawOperation => {
  const put = encodeMessage("etcdserverpb.PutRequest", { key: base64("a"), value: base64("deep") });
  let op = lengthDelimited(2, prng.oneIn(2) ? put.subarray(0, put.length - 1) : put);
  const depth = prng.pick([1, 2, 3, 30]);
  for (let i = 0; i < depth; i++) op = lengthDelimited(4, lengthDelimited(2, op));
  const compare = lengthDelimited(1, lengthDelimited(3, Buffer.from("a")));
  const parts = [prng.oneIn(2) ? compare : Buffer.alloc(0), lengthDelimited(2, op)];
  // The same oneof twice: messages of one kind merge, another kind replaces.
  if (prng.oneIn(3)) parts.push(lengthDelimited(2, Buffer.concat([op, lengthDelimited(1, smallRead())])));
  if (prng.oneIn(3))
    parts.push(lengthDelimited(2, Buffer.concat([lengthDelimited(2, put), lengthDelimited(2, put.subarray(3))])));
  return raw(`odd txn, ${depth} deep`, "/etcdserverpb.KV/Txn", frame(Buffer.concat(parts)), {}, "etcdserverpb.KV/Txn");
};

const oddFrames = (): Readonly<Record<string, Buffer>> => {
  const whole = frame(smallRead());
  return {
    "no message": Buffer.alloc(0),
    "half a prefix": whole.subarray(0, 3),
    "half a message": whole.subarray(0, whole.length - 1),
    "compressed without encoding": frame(smallRead(), 1),
    "flag 2": frame(smallRead(), 2),
    "flag 255": frame(smallRead(), 255),
    "empty message": frame(Buffer.alloc(0)),
    "length of 4 GiB": Buffer.from("00ffffffff00", "hex"),
    "length over the limit": Buffer.concat([Buffer.from("0000200001", "hex"), Buffer.from("0a", "hex")]),
  };
};

const oddFrame = ({ prng }: Context): RawOperation => {
  const [note, body] = prng.pick(Object.entries(oddFrames()));
  return raw(note, rangePath, body, {}, "etcdserverpb.KV/Range");
};

const headerVariants: readonly (readonly [string, Readonly<Record<string, string | null>>])[] = [
  ["gzip announced and not used", { "grpc-encoding": "gzip" }],
  ["snappy", { "grpc-encoding": "snappy" }],
  ["identity", { "grpc-encoding": "identity" }],
  ["accepts gzip", { "grpc-accept-encoding": "gzip,identity" }],
  ["timeout without unit", { "grpc-timeout": "10" }],
  ["timeout of letters", { "grpc-timeout": "abcS" }],
  ["timeout empty", { "grpc-timeout": "" }],
  ["timeout negative", { "grpc-timeout": "-1S" }],
  ["timeout with unknown unit", { "grpc-timeout": "1x" }],
  ["timeout of 9 digits", { "grpc-timeout": "123456789S" }],
  ["timeout of 8 digits of hours", { "grpc-timeout": "99999999H" }],
  ["deadline that has passed", { "grpc-timeout": "0S" }],
  ["timeout of a minute", { "grpc-timeout": "1M" }],
  ["timeout of ten seconds in ms", { "grpc-timeout": "10000m" }],
  ["content-type with suffix", { "content-type": "application/grpc+proto" }],
  ["content-type with parameter", { "content-type": "application/grpc;charset=x" }],
  ["content-type of another codec", { "content-type": "application/grpc+json" }],
  ["content-type in capitals", { "content-type": "Application/GRPC" }],
  ["content-type json", { "content-type": "application/json" }],
  ["content-type almost", { "content-type": "application/grpcx" }],
  ["content-type missing", { "content-type": null }],
  ["te missing", { te: null }],
  ["method GET", { ":method": "GET" }],
  ["method PUT", { ":method": "PUT" }],
  ["hasleader", { hasleader: "true" }],
  ["client-api-version", { "client-api-version": "3.7" }],
  ["token while auth is off", { token: "abc.123" }],
  ["authorization while auth is off", { authorization: "Bearer abc" }],
  ["binary metadata", { "x-bin": "AAEC" }],
  ["broken binary metadata", { "x-bin": "!!!" }],
  ["unknown header", { "x-thing": "1" }],
  ["user agent", { "user-agent": "grpc-go/1.82.1" }],
];

const oddHeaders = ({ prng }: Context): RawOperation => {
  const [note, headers] = prng.pick(headerVariants);
  return raw(note, rangePath, frame(smallRead()), headers, "etcdserverpb.KV/Range");
};

/** etcd's server has gzip registered: such messages are read, and refused if they are none. */
const compressed = ({ prng }: Context): RawOperation => {
  const read = smallRead();
  const variants: readonly (readonly [string, Buffer, string])[] = [
    ["gzip", gzipSync(read), "gzip"],
    ["gzip, damaged", gzipSync(read).fill(7, 12, 14), "gzip"],
    ["gzip, cut", gzipSync(read).subarray(0, 15), "gzip"],
    ["gzip, not compressed at all", read, "gzip"],
    ["gzip, unpacks over the limit", gzipSync(Buffer.alloc(3_000_000)), "gzip"],
    ["gzip, flagged but called identity", gzipSync(read), "identity"],
    ["deflate", gzipSync(read), "deflate"],
  ];
  const [note, bytes, encoding] = prng.pick(variants);
  return raw(note, rangePath, frame(bytes, 1), { "grpc-encoding": encoding }, "etcdserverpb.KV/Range");
};

const unknownPaths = [
  "/etcdserverpb.KV/Foo",
  "/etcdserverpb.KV/put",
  "/etcdserverpb.KV/",
  "/etcdserverpb.KV",
  "/etcdserverpb.Kv/Put",
  "/no.Such/Thing",
  "/no.Such/a/b",
  "/",
  "//",
  "/x",
  "/grpc.health.v1.Health/Nothing",
  "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
  "/etcdserverpb.KV/Put/",
  "/etcdserverpb.KV/Put?x=1",
  "/etcdserverpb.KV/%50ut",
];

/** A write whose deadline has passed must not be done. */
const lateWrite = (context: Context): RawOperation => {
  const body = frame(encodeMessage("etcdserverpb.PutRequest", somePut(context)));
  return raw("deadline has passed", "/etcdserverpb.KV/Put", body, { "grpc-timeout": "0n" }, "etcdserverpb.KV/Put");
};

const unknownMethod = ({ prng }: Context): RawOperation => {
  const path = prng.pick(unknownPaths);
  return raw(`path ${path}`, path, frame(smallRead()));
};

const twoMessages = (): RawOperation =>
  raw(
    "two messages on a unary call",
    rangePath,
    Buffer.concat([frame(smallRead()), frame(smallRead())]),
    {},
    "etcdserverpb.KV/Range",
  );

/** Some bad or odd input over gRPC. */
export const someRaw = (context: Context): RawOperation => {
  switch (
    context.prng.weighted({ message: 50, txn: 8, frame: 10, headers: 20, compressed: 4, path: 10, late: 2, two: 1 })
  ) {
    case "message":
      return oddMessage(context);
    case "txn":
      return oddTxn(context);
    case "frame":
      return oddFrame(context);
    case "headers":
      return oddHeaders(context);
    case "compressed":
      return compressed(context);
    case "path":
      return unknownMethod(context);
    case "late":
      return lateWrite(context);
    case "two":
      return twoMessages();
  }
};

/** Each kind of raw operation once: what a random run may miss. */
export const everyRaw = (context: Context): RawOperation[] => {
  const messages = Object.entries(oddities).flatMap(([note, change]) =>
    targets.map(({ rpc, message, make }) =>
      raw(
        `${note} in ${message}`,
        `/${rpc}`,
        frame(change(context.prng, encodeMessage(message, make(context)))),
        {},
        rpc,
      ),
    ),
  );
  const headers = headerVariants.map(([note, fields]) =>
    raw(note, rangePath, frame(smallRead()), fields, "etcdserverpb.KV/Range"),
  );
  const frames = Object.entries(oddFrames()).map(([note, body]) =>
    raw(note, rangePath, body, {}, "etcdserverpb.KV/Range"),
  );
  const paths = unknownPaths.map((path) => raw(`path ${path}`, path, frame(smallRead())));
  const zipped = Array.from({ length: 40 }, () => compressed(context));
  return [...messages, ...headers, ...frames, ...zipped, ...paths, lateWrite(context), twoMessages()];
};
