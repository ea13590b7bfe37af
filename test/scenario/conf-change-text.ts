/**
 * Configuration changes as transcripts write them (`v1 l2 r3 u4`) and as raftpb encodes them, for tests only.
 */
import { EntryType } from "../../src/base/index.js";
import {
  ConfChangeTransition,
  ConfChangeType,
  type ConfChangeSingle,
  type ConfChangeV2,
} from "../../src/raft/index.js";

const letters: Record<string, ConfChangeType> = {
  v: ConfChangeType.AddNode,
  r: ConfChangeType.RemoveNode,
  u: ConfChangeType.UpdateNode,
  l: ConfChangeType.AddLearnerNode,
};

/** Reads `v1 l2 r3 u4`. */
export function parseChanges(text: string): ConfChangeSingle[] {
  const words = text.split(/\s+/).filter((word) => word !== "");
  return words.map((word) => {
    const type = letters[word[0]!];
    if (type === undefined) throw new Error(`unknown input: ${word}`);
    return { type, nodeId: BigInt(word.slice(1)) };
  });
}

export function formatChanges(changes: readonly ConfChangeSingle[]): string {
  return changes.map(({ type, nodeId }) => `${"vrul"[type]!}${nodeId}`).join(" ");
}

export function encodeConfChangeV1(change: ConfChangeSingle): Uint8Array {
  return Uint8Array.of(0x10, change.type, 0x18, ...varint(change.nodeId));
}

export function encodeConfChangeV2(change: ConfChangeV2): Uint8Array {
  const bytes = change.transition === ConfChangeTransition.Auto ? [] : [0x08, change.transition];
  for (const { type, nodeId } of change.changes) {
    const single = [0x08, type, 0x10, ...varint(nodeId)];
    bytes.push(0x12, single.length, ...single);
  }
  return Uint8Array.from(bytes);
}

/** Reads what the functions above write. */
export function decodeConfChange(type: EntryType, data: Uint8Array): ConfChangeV2 {
  if (type === EntryType.ConfChange) {
    const single = { type: data[1]! as ConfChangeType, nodeId: readVarint(data, 3) };
    return { transition: ConfChangeTransition.Auto, changes: [single] };
  }
  let transition: ConfChangeTransition = ConfChangeTransition.Auto;
  const changes: ConfChangeSingle[] = [];
  for (let at = 0; at < data.length;) {
    if (data[at] === 0x08) {
      transition = data[at + 1]! as ConfChangeTransition;
      at += 2;
    } else {
      changes.push({ type: data[at + 3]! as ConfChangeType, nodeId: readVarint(data, at + 5) });
      at += 2 + data[at + 1]!;
    }
  }
  return { transition, changes };
}

function varint(value: bigint): number[] {
  const bytes: number[] = [];
  let rest = value;
  for (; rest >= 0x80n; rest >>= 7n) bytes.push(Number(rest & 0x7fn) | 0x80);
  bytes.push(Number(rest));
  return bytes;
}

function readVarint(data: Uint8Array, start: number): bigint {
  let value = 0n;
  for (let at = start, shift = 0n; ; at++, shift += 7n) {
    value |= BigInt(data[at]! & 0x7f) << shift;
    if (data[at]! < 0x80) return value;
  }
}
