/** Random protobuf messages, most of them nearly right: the rules of reading are in the exceptions. */
import { type FieldDescriptor, type MessageDescriptor, writeVarint, writeVarint64 } from "../../src/proto/index.js";
import type { Prng } from "../support/index.js";

const interesting = [
  0n,
  1n,
  2n,
  127n,
  128n,
  300n,
  2n ** 31n,
  2n ** 32n,
  2n ** 53n - 1n,
  2n ** 53n,
  2n ** 63n,
  -1n,
  -2n,
];

function varint(value: bigint): Buffer {
  const bytes = Buffer.alloc(10);
  return bytes.subarray(0, writeVarint64(value, bytes, 0));
}

function tag(number: number, type: number): Buffer {
  const bytes = Buffer.alloc(10);
  return bytes.subarray(0, writeVarint(number * 8 + type, bytes, 0));
}

function delimited(bytes: Buffer): Buffer {
  return Buffer.concat([varint(BigInt(bytes.length)), bytes]);
}

/** A varint, now and then longer than need be or without end. */
function someVarint(prng: Prng): Buffer {
  const value = prng.oneIn(3) ? BigInt(prng.u32()) << BigInt(prng.below(33)) : prng.pick(interesting);
  const bytes = varint(value);
  if (!prng.oneIn(12)) return bytes;
  const padding = prng.between(1, 10);
  bytes[bytes.length - 1]! |= 0x80;
  return Buffer.concat([bytes, Buffer.alloc(padding, 0x80), Buffer.from([prng.pick([0, 0, 1, 2])])]);
}

function someText(prng: Prng): Buffer {
  if (prng.oneIn(6)) return prng.bytes(prng.below(6));
  return Buffer.from(prng.pick(["", "a", "foo", "ключ", "\u{1f600}", "\ud7ff\ue000", "x".repeat(200)]));
}

function someField(prng: Prng, field: FieldDescriptor, depth: number): Buffer {
  if (prng.oneIn(25)) return someUnknown(prng, field.number, 2);
  switch (field.type) {
    case "message":
      return Buffer.concat([tag(field.number, 2), delimited(someMessage(prng, field.message!, depth - 1))]);
    case "bytes":
    case "string":
      return Buffer.concat([tag(field.number, 2), delimited(someText(prng))]);
    default:
      if (field.repeated && prng.oneIn(2)) {
        const values = Array.from({ length: prng.below(4) }, () => someVarint(prng));
        return Buffer.concat([tag(field.number, 2), delimited(Buffer.concat(values))]);
      }
      return Buffer.concat([tag(field.number, 0), someVarint(prng)]);
  }
}

/** A field of any wire type, groups included. */
function someUnknown(prng: Prng, number: number, depth: number): Buffer {
  const type = prng.pick([0, 1, 2, 3, 3, 5, 4, 6]);
  switch (type) {
    case 0:
      return Buffer.concat([tag(number, 0), someVarint(prng)]);
    case 1:
      return Buffer.concat([tag(number, 1), prng.bytes(8)]);
    case 2:
      return Buffer.concat([tag(number, 2), delimited(prng.bytes(prng.below(5)))]);
    case 3: {
      const inner = Array.from({ length: prng.below(3) }, () =>
        depth > 0 ? someUnknown(prng, someNumber(prng), depth - 1) : Buffer.alloc(0),
      );
      const end = prng.oneIn(10) ? someNumber(prng) : number;
      return Buffer.concat([tag(number, 3), ...inner, tag(end, 4)]);
    }
    case 5:
      return Buffer.concat([tag(number, 5), prng.bytes(4)]);
    default:
      return prng.oneIn(4) ? tag(number, type) : Buffer.alloc(0);
  }
}

function someNumber(prng: Prng): number {
  return prng.pick([1, 2, 3, 14, 15, 16, 99, 2047, 2048, 19_000, 2 ** 29 - 1, 2 ** 29, 2 ** 28, 2 ** 31 - 1, 2 ** 31]);
}

/** Bytes of a message that is mostly sound. */
export function someMessage(prng: Prng, descriptor: MessageDescriptor, depth = 5): Buffer {
  const parts: Buffer[] = [];
  const count = depth > 0 ? prng.below(5) : 0;
  for (let i = 0; i < count && descriptor.fields.length > 0; i++) {
    if (prng.oneIn(15)) parts.push(someUnknown(prng, someNumber(prng), 3));
    const field = prng.pick(descriptor.fields);
    parts.push(someField(prng, field, depth));
    if (prng.oneIn(8)) parts.push(someField(prng, field, depth));
  }
  return Buffer.concat(parts);
}

/** The same with a few bytes changed, cut or added. */
export function damaged(prng: Prng, bytes: Buffer): Buffer {
  let changed = Buffer.from(bytes);
  for (let times = prng.between(1, 3); times > 0; times--) {
    const at = prng.below(changed.length + 1);
    const kind = prng.below(4);
    if (kind === 0 && at < changed.length) changed[at] = prng.below(256);
    else if (kind === 1) changed = changed.subarray(0, at);
    else if (kind === 2) changed = Buffer.concat([changed.subarray(0, at), changed.subarray(at + prng.below(3))]);
    else changed = Buffer.concat([changed.subarray(0, at), prng.bytes(prng.between(1, 3)), changed.subarray(at)]);
  }
  return changed;
}

/** Messages or groups nested `levels` deep within field `number`. */
export function nestedMessages(levels: number, numbers: readonly number[]): Buffer {
  const heads: Buffer[] = [];
  let length = 0;
  for (let i = 0; i < levels; i++) {
    const head = Buffer.concat([tag(numbers[i % numbers.length]!, 2), varint(BigInt(length))]);
    heads.push(head);
    length += head.length;
  }
  return Buffer.concat(heads.reverse());
}

export function nestedGroups(levels: number, number: number): Buffer {
  const start = Array.from({ length: levels }, () => tag(number, 3));
  const end = Array.from({ length: levels }, () => tag(number, 4));
  return Buffer.concat([...start, ...end]);
}
