/**
 * A slow and obvious store, fed with the committed entries in their order: what every request must have been answered,
 * and what every key was at every revision. It shares no code with the server but the protobuf decoder.
 */
import {
  decodeInternalRaftRequest,
  type Compare,
  type DeleteRangeResponse,
  type KeyValue,
  type PutResponse,
  type RangeResponse,
  type RequestOp,
  type TxnRequest,
  type TxnResponse,
} from "../../src/proto/index.js";

interface Stored {
  readonly value: string;
  readonly create: number;
  readonly mod: number;
  readonly version: number;
}

/** A key's states, by the revision from which each holds; null: deleted. */
type Track = { readonly from: number; readonly stored: Stored | null }[];

const textOf = (bytes: Uint8Array): string =>
  Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("latin1");

/** A key as an answer shows it, in one line. */
export function describeKeyValue(kv: KeyValue): string {
  return `${textOf(kv.key)}=${textOf(kv.value)}@${kv.createRevision}/${kv.modRevision}/${kv.version}`;
}

export function describePut({ prevKv }: PutResponse): string {
  return `put(${prevKv === undefined ? "" : describeKeyValue(prevKv)})`;
}
export function describeDelete({ deleted, prevKvs }: DeleteRangeResponse): string {
  return `delete(${deleted}:${prevKvs.map(describeKeyValue).join()})`;
}
export function describeRange({ count, kvs }: RangeResponse): string {
  return `range(${count}:${kvs.map(describeKeyValue).join()})`;
}
export function describeTxn({ succeeded, responses }: TxnResponse): string {
  const parts = responses.map(({ response }) => {
    switch (response?.case) {
      case "responseRange":
        return describeRange(response.value);
      case "responsePut":
        return describePut(response.value);
      case "responseDeleteRange":
        return describeDelete(response.value);
      default:
        return "?";
    }
  });
  return `txn(${succeeded}:${parts.join()})`;
}

export class Oracle {
  readonly #tracks = new Map<string, Track>();
  /** By index: what the entry's request is answered, and at which revision. */
  readonly #answers = new Map<number, { readonly text: string; readonly revision: number }>();
  revision = 1;

  /** Takes the next committed entry's data. */
  apply(index: number, data: Uint8Array): void {
    const request = decodeInternalRaftRequest(data, 0, data.length);
    const main = this.revision + 1;
    let text: string;
    if (request.put !== undefined) {
      text = this.#put(textOf(request.put.key), textOf(request.put.value), request.put.prevKv, main);
    } else if (request.deleteRange !== undefined) {
      text = this.#delete(textOf(request.deleteRange.key), main);
    } else if (request.txn !== undefined) {
      text = this.#txn(request.txn, main);
    } else return;
    this.#answers.set(index, { text, revision: this.revision });
  }

  /** What the request of entry `index` must be answered. */
  answerOf(index: number): { readonly text: string; readonly revision: number } | undefined {
    return this.#answers.get(index);
  }

  /** What a range of one key must show at a revision. */
  rangeAt(key: string, revision: number): string {
    const shown = this.#show(key, revision);
    return `range(${shown === "" ? 0 : 1}:${shown})`;
  }

  #at(key: string, revision: number): Stored | null {
    return this.#tracks.get(key)?.findLast(({ from }) => from <= revision)?.stored ?? null;
  }

  #show(key: string, revision: number): string {
    const stored = this.#at(key, revision);
    return stored === null ? "" : `${key}=${stored.value}@${stored.create}/${stored.mod}/${stored.version}`;
  }

  #set(key: string, from: number, stored: Stored | null): void {
    const track = this.#tracks.get(key);
    if (track === undefined) this.#tracks.set(key, [{ from, stored }]);
    else track.push({ from, stored });
    this.revision = from;
  }

  #put(key: string, value: string, prevKv: boolean, main: number): string {
    const before = this.#at(key, main);
    const text = `put(${prevKv ? this.#show(key, main) : ""})`;
    const create = before?.create ?? main;
    this.#set(key, main, { value, create, mod: main, version: (before?.version ?? 0) + 1 });
    return text;
  }

  #delete(key: string, main: number): string {
    const shown = this.#show(key, main);
    if (shown === "") return "delete(0:)";
    this.#set(key, main, null);
    return `delete(1:${shown})`;
  }

  #txn({ compare, success, failure }: TxnRequest, main: number): string {
    const succeeded = compare.every((each) => this.#holds(each));
    const parts = (succeeded ? success : failure).map((op) => this.#op(op, main));
    return `txn(${succeeded}:${parts.join()})`;
  }

  /** Only equality is asked for here. */
  #holds({ key, targetUnion }: Compare): boolean {
    const stored = this.#at(textOf(key), this.revision);
    switch (targetUnion?.case) {
      case "value":
        return stored !== null && stored.value === textOf(targetUnion.value);
      case "modRevision":
        return (stored?.mod ?? 0) === targetUnion.value;
      case "version":
        return (stored?.version ?? 0) === targetUnion.value;
      default:
        throw new Error("oracle: compare");
    }
  }

  #op({ request }: RequestOp, main: number): string {
    switch (request?.case) {
      case "requestPut":
        return this.#put(textOf(request.value.key), textOf(request.value.value), request.value.prevKv, main);
      case "requestDeleteRange":
        return this.#delete(textOf(request.value.key), main);
      case "requestRange":
        return this.rangeAt(textOf(request.value.key), main);
      default:
        throw new Error("oracle: request in a transaction");
    }
  }
}
