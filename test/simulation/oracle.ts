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
  readonly lease: bigint;
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
  const { createRevision: create, modRevision: mod, version, lease } = kv;
  return describeStored(textOf(kv.key), { value: textOf(kv.value), create, mod, version, lease });
}

function describeStored(key: string, { value, create, mod, version, lease }: Stored): string {
  return `${key}=${value}@${create}/${mod}/${version}${lease === 0n ? "" : `~${lease}`}`;
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

/** A change of a key, as watchers are told of it. */
export interface OracleEvent {
  readonly revision: number;
  readonly key: string;
  readonly isDelete: boolean;
  /** The key after the change, in one line; and before it, "" when it was not there. */
  readonly shown: string;
  readonly before: string;
}

/** A lease, as the log has made it. */
export interface OracleLease {
  /** Seconds. */
  readonly ttl: number;
  /** Of the entry that granted it. */
  readonly index: number;
  readonly keys: Set<string>;
}

/** The shortest TTL, in seconds. */
const leaseTtlMin = 2;
/** What a refused request is answered. */
export const refused = "refused";

export class Oracle {
  readonly #tracks = new Map<string, Track>();
  /** By index: what the entry's request is answered, and at which revision. */
  readonly #answers = new Map<number, { readonly text: string; readonly revision: number }>();
  revision = 1;
  compactRevision = -1;
  /** All changes, in order. */
  readonly events: OracleEvent[] = [];
  readonly leases = new Map<bigint, OracleLease>();

  /** Takes the next committed entry's data. */
  apply(index: number, data: Uint8Array): void {
    const request = decodeInternalRaftRequest(data, 0, data.length);
    const main = this.revision + 1;
    let text: string;
    if (request.put !== undefined) {
      const { key, value, prevKv, lease } = request.put;
      if (lease !== 0n && !this.leases.has(lease)) text = refused;
      else text = this.#put(textOf(key), { value: textOf(value), prevKv, lease }, main);
    } else if (request.deleteRange !== undefined) {
      text = this.#delete(textOf(request.deleteRange.key), main);
    } else if (request.txn !== undefined) {
      text = this.#txn(request.txn, main);
    } else if (request.leaseGrant !== undefined) {
      text = this.#grant(index, request.leaseGrant.ID, request.leaseGrant.TTL);
    } else if (request.leaseRevoke !== undefined) {
      text = this.#revoke(request.leaseRevoke.ID, main);
    } else if (request.compaction !== undefined) {
      text = this.#compact(request.compaction.revision);
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

  /** What a range of all keys must show now. */
  all(): string {
    const shown = [...this.#tracks.keys()].sort().map((key) => this.#show(key, this.revision));
    const there = shown.filter((each) => each !== "");
    return `range(${there.length}:${there.join()})`;
  }

  #at(key: string, revision: number): Stored | null {
    return this.#tracks.get(key)?.findLast(({ from }) => from <= revision)?.stored ?? null;
  }

  #show(key: string, revision: number): string {
    const stored = this.#at(key, revision);
    return stored === null ? "" : describeStored(key, stored);
  }

  #set(key: string, from: number, stored: Stored | null): void {
    const before = this.#at(key, from);
    const shown = stored === null ? `${key} deleted at ${from}` : describeStored(key, stored);
    this.events.push({ revision: from, key, isDelete: stored === null, shown, before: this.#show(key, from) });
    if (before !== null) this.leases.get(before.lease)?.keys.delete(key);
    if (stored !== null) this.leases.get(stored.lease)?.keys.add(key);
    const track = this.#tracks.get(key);
    if (track === undefined) this.#tracks.set(key, [{ from, stored }]);
    else track.push({ from, stored });
    this.revision = from;
  }

  #put(
    key: string,
    { value, prevKv, lease }: { readonly value: string; readonly prevKv: boolean; readonly lease: bigint },
    main: number,
  ): string {
    const before = this.#at(key, main);
    const text = `put(${prevKv ? this.#show(key, main) : ""})`;
    const create = before?.create ?? main;
    this.#set(key, main, { value, create, mod: main, version: (before?.version ?? 0) + 1, lease });
    return text;
  }

  #delete(key: string, main: number): string {
    const shown = this.#show(key, main);
    if (shown === "") return "delete(0:)";
    this.#set(key, main, null);
    return `delete(1:${shown})`;
  }

  #grant(index: number, id: bigint, ttl: number): string {
    if (this.leases.has(id)) return refused;
    const granted = Math.max(ttl, leaseTtlMin);
    this.leases.set(id, { ttl: granted, index, keys: new Set() });
    return `grant(${id}:${granted})`;
  }

  /** A lease's keys go in one revision, in the order of their names. */
  #revoke(id: bigint, main: number): string {
    const lease = this.leases.get(id);
    if (lease === undefined) return refused;
    for (const key of [...lease.keys].sort()) this.#delete(key, main);
    this.leases.delete(id);
    return "revoke()";
  }

  #compact(revision: number): string {
    if (revision <= this.compactRevision || revision > this.revision) return refused;
    this.compactRevision = revision;
    return "compact()";
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
        return this.#put(
          textOf(request.value.key),
          { value: textOf(request.value.value), prevKv: request.value.prevKv, lease: request.value.lease },
          main,
        );
      case "requestDeleteRange":
        return this.#delete(textOf(request.value.key), main);
      case "requestRange":
        return this.rangeAt(textOf(request.value.key), main);
      default:
        throw new Error("oracle: request in a transaction");
    }
  }
}
