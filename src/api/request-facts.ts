/** What is known of a unary call when it is answered: its request's beginning, and what the log says of the answer. */
import type { CallBatchReader } from "../native/index.js";
import { decodeResponseHeader, WireReader } from "../proto/index.js";

/** Where the request begins in a Slow record's message. */
const factsEnd = 56;

/** What an answer of KV says, found by the numbers of its fields. */
export interface AnswerFacts {
  /** Field 2 where it is a varint: `deleted`, or whether a Txn succeeded. */
  readonly field2: number;
  /** Field 4 where it is a varint: a Range's count. */
  readonly field4: number;
  /** How often field 2 is there as a message: a Range's pairs. */
  readonly messages2: number;
  /** How often field 3 is there as a message: a Txn's responses. */
  readonly messages3: number;
  /** The header's revision. */
  readonly revision: number;
}

/** A unary call that is answered. */
export interface RequestStats {
  readonly milliseconds: number;
  /** Who made it: "ip:port", or "gateway". */
  readonly remote: string;
  /** Path of the method. */
  readonly path: string;
  readonly requestBytes: number;
  /** 0: it ended with an error. */
  readonly responseBytes: number;
  readonly answer: AnswerFacts;
  /** The request, or its beginning. */
  readonly request: Uint8Array;
}

/** What the edge's Slow record says. */
export function readSlowRecord(record: CallBatchReader): Omit<RequestStats, "remote" | "path"> {
  const { bytes, messageStart, messageEnd } = record;
  const view = new DataView(bytes.buffer, bytes.byteOffset + messageStart, factsEnd);
  const fact = (index: number): number => Number(view.getBigInt64(16 + 8 * index, true));
  return {
    milliseconds: Number(view.getBigUint64(0, true)) / 1000,
    requestBytes: view.getUint32(8, true),
    responseBytes: view.getUint32(12, true),
    answer: { field2: fact(0), field4: fact(1), messages2: fact(2), messages3: fact(3), revision: fact(4) },
    request: bytes.subarray(messageStart + factsEnd, messageEnd),
  };
}

/** The facts of one of our own answers. */
export function answerFacts(response: Uint8Array): AnswerFacts {
  const facts = { field2: 0, field4: 0, messages2: 0, messages3: 0, revision: 0 };
  const reader = new WireReader(response, 0);
  const end = response.length;
  while (reader.at < end) {
    const tag = reader.tag(end);
    if (tag === 0x10) facts.field2 = reader.int64Number(end);
    else if (tag === 0x20) facts.field4 = reader.int64Number(end);
    else if (tag === 0x0a) facts.revision = decodeResponseHeader(response, ...spanOf(reader, end)).revision;
    else {
      if (tag === 0x12) facts.messages2++;
      if (tag === 0x1a) facts.messages3++;
      reader.skip(tag, end);
    }
  }
  return facts;
}

function spanOf(reader: WireReader, end: number): [number, number] {
  const stop = reader.span(end);
  return [reader.spanStart, stop];
}
