/**
 * Clients: each does one operation after another, gives up waiting in its own time, and remembers what it was told.
 * What they were told is checked at once against the oracle, and in the end as a history.
 */
import {
  decodeDeleteRangeResponse,
  decodePutResponse,
  decodeRangeResponse,
  decodeTxnResponse,
  encodeDeleteRangeRequest,
  encodePutRequest,
  encodeRangeRequest,
  encodeTxnRequest,
  type DeleteRangeResponse,
  type KeyValue as Kv,
  type PutResponse,
  type RangeResponse,
  type ResponseOp,
  type TxnRequestInit,
  type TxnResponse,
} from "../../src/proto/index.js";
import { isNoLeader, isNotCapable, type Reply } from "./calls.js";
import type { KeyValue, KvCall } from "./kv-model.js";
import type { Call } from "./linearizability.js";
import type { SimulatedMember } from "./member.js";
import { describeDelete, describePut, describeRange, describeTxn } from "./oracle.js";
import type { ServerCall } from "./member-calls.js";
import type { Operation, OperationKind } from "./scenario.js";
import type { World } from "./world.js";

const fieldOf = { put: 4, deleteRange: 5, txn: 6 } as const;
const methodOf = { range: 0, txn: 1 } as const;
/** Compare.CompareTarget. */
const target = { version: 0, mod: 2, value: 3 } as const;
const ok = 0;
/** gRPC's OutOfRange: what is compacted, or not there yet. */
const outOfRange = 11;

const bytesOf = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, "latin1"));
const textOf = (bytes: Uint8Array): string =>
  Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("latin1");

/** What a client last saw of a key. */
interface Seen {
  readonly value: string;
  readonly modRevision: number;
}

/** An operation with the values it was made with. */
interface Request {
  readonly call: Pick<ServerCall, "kind" | "field" | "method" | "message">;
  readonly guard: KeyValue | null;
  readonly writes: readonly KeyValue[];
  /** A read of the past is of this revision. */
  readonly revision?: number;
}

type Response = PutResponse | RangeResponse | DeleteRangeResponse | TxnResponse;

/** What an answer says, whichever operation's it is. */
interface Answer {
  readonly text: string;
  readonly revision: number;
  readonly succeeded: boolean;
  readonly observed: readonly KeyValue[];
  /** The keys' states after it, as far as it tells. */
  readonly seen: readonly Kv[];
}

export interface ClientCounts {
  answered: number;
  refused: number;
  unknown: number;
  /** Refused as they need a leader, and their member knew none. */
  leaderless: number;
}

export class Clients {
  readonly #world: World;
  readonly #queues = new Map<number, Operation[]>();
  readonly #seen = new Map<string, Seen>();
  readonly history: Call<KvCall>[] = [];
  readonly counts: ClientCounts = { answered: 0, refused: 0, unknown: 0, leaderless: 0 };
  #busy = 0;
  /** The highest revision that any client has been told of. */
  #toldRevision = 0;

  constructor(world: World, operations: readonly Operation[]) {
    this.#world = world;
    for (const drawn of operations) {
      const operation = { ...drawn, value: drawn.value.padEnd(drawn.bytes ?? 0, "x") };
      const queue = this.#queues.get(operation.client);
      if (queue === undefined) this.#queues.set(operation.client, [operation]);
      else queue.push(operation);
    }
  }

  start(): void {
    for (const client of this.#queues.keys()) {
      this.#busy++;
      this.#next(client);
    }
  }

  /** Clients that were held up for long leave out what they were to do before `atMs`. */
  leaveOut(atMs: number): void {
    for (const [client, queue] of this.#queues)
      this.#queues.set(
        client,
        queue.filter((operation) => operation.atMs >= atMs),
      );
  }

  /** Every client has done all that it was to do. */
  get done(): boolean {
    return this.#busy === 0;
  }

  #next(client: number): void {
    const operation = this.#queues.get(client)!.shift();
    if (operation === undefined) {
      this.#busy--;
      return;
    }
    const { timeline, netChance } = this.#world;
    timeline.at(Math.max(operation.atMs, timeline.now + netChance.around(1)), () => {
      this.perform(operation, () => this.#next(client));
    });
  }

  /** Does one operation; `done` says whether it was answered with success. */
  perform(operation: Operation, done: (success: boolean) => void): void {
    const { timeline } = this.#world;
    const member = this.#memberFor(operation.member);
    if (member === null) {
      this.counts.refused++;
      timeline.after(20, () => done(false));
      return;
    }
    new Attempt(this.#world, this, operation, member, done).begin();
  }

  /** The member asked for, or the next that is up. */
  #memberFor(wanted: number): SimulatedMember | null {
    const { members } = this.#world;
    for (let i = 0; i < members.length; i++) {
      const member = members[(wanted + i) % members.length]!;
      if (member.process !== null) return member;
    }
    return null;
  }

  seen(key: string): Seen | undefined {
    return this.#seen.get(key);
  }

  saw(kvs: readonly Kv[]): void {
    for (const { key, value, modRevision } of kvs) this.#seen.set(textOf(key), { value: textOf(value), modRevision });
  }

  get toldRevision(): number {
    return this.#toldRevision;
  }

  told(revision: number): void {
    this.#toldRevision = Math.max(this.#toldRevision, revision);
  }
}

/** One operation under way. */
class Attempt {
  readonly #world: World;
  readonly #clients: Clients;
  readonly #operation: Operation;
  readonly #member: SimulatedMember;
  readonly #done: (success: boolean) => void;
  readonly #request: Request;
  readonly #call: ServerCall;
  #begin = 0;
  /** What had been told to anyone when it began: a linearizable answer is no older. */
  #floor = 0;
  #over = false;

  constructor(
    world: World,
    clients: Clients,
    operation: Operation,
    member: SimulatedMember,
    done: (success: boolean) => void,
  ) {
    this.#world = world;
    this.#clients = clients;
    this.#operation = operation;
    this.#member = member;
    this.#done = done;
    this.#request = requestOf(operation, clients);
    const needsLeader = operation.needsLeader === true;
    this.#call = { ...this.#request.call, needsLeader, index: 0, answered: (reply) => this.#left(reply) };
  }

  begin(): void {
    const { timeline, netChance } = this.#world;
    this.#begin = timeline.now;
    this.#floor = this.#clients.toldRevision;
    timeline.after(netChance.around(0.3), () => {
      const { process } = this.#member;
      if (process === null) this.#end(null, true);
      else process.calls.call(this.#call);
    });
    timeline.after(this.#operation.timeoutMs, () => this.#end(null, false));
  }

  /** The answer leaves the member; null: the connection breaks, and whether it was done is unknown. */
  #left(reply: Reply | null): void {
    const { timeline, netChance } = this.#world;
    const answer = reply !== null && reply.code === ok ? this.#read(reply) : null;
    if (answer !== null) this.#check(answer);
    else if (reply?.code === outOfRange) this.#checkCompacted(reply);
    if (isNoLeader(reply)) this.#clients.counts.leaderless++;
    timeline.after(netChance.around(0.3), () => {
      // What is refused as it comes is not done: had it been, the history would show it.
      if (answer === null) this.#end(null, isNoLeader(reply) || isNotCapable(reply));
      else this.#answered(answer);
    });
  }

  #read(reply: Reply): Answer {
    return answerOf(this.#operation.kind, this.#operation.keys, reply.message, this.#request);
  }

  /** What leaves a member is true, whether it arrives or not. */
  #check(answer: Answer): void {
    const { oracle } = this.#world.checker;
    const { kind, index } = this.#call;
    const { name } = this.#member;
    if (kind === "write") {
      const expected = oracle.answerOf(index);
      if (expected === undefined)
        this.#world.fail("answer after apply", `${name} answers a write that is not committed`);
      if (expected.text !== answer.text || expected.revision !== answer.revision) {
        this.#wrong(answer, `${expected.text} at ${expected.revision}`);
      }
      return;
    }
    if (answer.revision > oracle.revision) this.#wrong(answer, `a revision up to ${oracle.revision}`);
    const ranges = this.#operation.keys.map((key) => oracle.rangeAt(key, this.#request.revision ?? answer.revision));
    const expected = this.#operation.kind === "getTwo" ? `txn(true:${ranges.join()})` : ranges[0]!;
    if (answer.text !== expected) this.#wrong(answer, expected);
    if (kind === "read" && answer.revision < this.#floor) {
      this.#world.fail(
        "linearizable read",
        `${name} reads at revision ${answer.revision}, but ${this.#floor} had been told before`,
      );
    }
  }

  /** A read of the past may be refused where a compaction has been. */
  #checkCompacted({ text }: Reply): void {
    const { compactRevision } = this.#world.checker.oracle;
    if ((this.#request.revision ?? Infinity) < compactRevision) return;
    this.#world.fail("right answers", `${this.#member.name}: revision ${this.#request.revision}: ${text}`);
  }

  #wrong(answer: Answer, expected: string): never {
    const what = `${this.#operation.kind} ${this.#operation.keys.join()}`;
    this.#world.fail(
      "right answers",
      `${this.#member.name}: ${what}: ${answer.text} at ${answer.revision}, not ${expected}`,
    );
  }

  #answered(answer: Answer): void {
    if (this.#over) return;
    this.#clients.told(answer.revision);
    this.#clients.saw(answer.seen);
    const isPast = this.#request.revision !== undefined;
    if (this.#call.kind !== "localRead" && !isPast) this.#record(this.#world.timeline.now, answer);
    this.#clients.counts.answered++;
    this.#finish("ok", answer);
  }

  /** No answer, or an error; `refused`: it was certainly not done. */
  #end(answer: null, refused: boolean): void {
    if (this.#over) return;
    if (refused) this.#clients.counts.refused++;
    else {
      this.#clients.counts.unknown++;
      if (this.#call.kind === "write") this.#record(Infinity, answer);
    }
    this.#finish(refused ? "refused" : "unknown", null);
  }

  #record(end: number, answer: Answer | null): void {
    const { guard, writes } = this.#request;
    this.#clients.history.push({ begin: this.#begin, end, op: { guard, writes, answer } });
  }

  #finish(outcome: "ok" | "refused" | "unknown", answer: Answer | null): void {
    this.#over = true;
    const { kind, keys, value } = this.#operation;
    this.#world.trace?.call({
      member: this.#member.name,
      text: `${kind} ${keys.join()} ${value}: ${answer === null ? outcome : `${answer.text} at ${answer.revision}`}`,
      beginMs: this.#begin,
      outcome,
    });
    this.#done(outcome === "ok");
  }
}

function write(field: number, message: Uint8Array): Request["call"] {
  return { kind: "write", field, method: 0, message };
}

const equal = 0;

/** Puts the value if the comparison holds, and tells what is there if not. */
function swap(operation: Operation, compare: TxnRequestInit["compare"]): Request["call"] {
  const [key, value] = [bytesOf(operation.keys[0]!), bytesOf(operation.value)];
  return write(
    fieldOf.txn,
    encodeTxnRequest({
      compare,
      success: [{ request: { case: "requestPut", value: { key, value, prevKv: true } } }],
      failure: [{ request: { case: "requestRange", value: { key } } }],
    }),
  );
}

function requestOf(operation: Operation, clients: Clients): Request {
  const { kind, keys, value } = operation;
  const name = keys[0]!;
  const key = bytesOf(name);
  const puts: readonly KeyValue[] = keys.map((each) => [each, value]);
  const none = { guard: null, writes: [] };
  switch (kind) {
    case "put":
      return {
        call: write(fieldOf.put, encodePutRequest({ key, value: bytesOf(value), prevKv: true })),
        guard: null,
        writes: puts,
      };
    case "delete":
      return {
        call: write(fieldOf.deleteRange, encodeDeleteRangeRequest({ key, prevKv: true })),
        guard: null,
        writes: [[name, null]],
      };
    case "get":
    case "localGet": {
      const serializable = kind === "localGet";
      const message = encodeRangeRequest({ key, serializable });
      return {
        call: { kind: serializable ? "localRead" : "read", field: 0, method: methodOf.range, message },
        ...none,
      };
    }
    case "getOld": {
      const revision = Math.max(1, clients.toldRevision - (operation.back ?? 0));
      const message = encodeRangeRequest({ key, revision });
      return { call: { kind: "read", field: 0, method: methodOf.range, message }, revision, ...none };
    }
    case "getTwo": {
      const success = keys.map((each) => ({
        request: { case: "requestRange" as const, value: { key: bytesOf(each) } },
      }));
      return {
        call: { kind: "read", field: 0, method: methodOf.txn, message: encodeTxnRequest({ success }) },
        ...none,
      };
    }
    case "putTwo": {
      const success = keys.map((each) => ({
        request: { case: "requestPut" as const, value: { key: bytesOf(each), value: bytesOf(value), prevKv: true } },
      }));
      return { call: write(fieldOf.txn, encodeTxnRequest({ success })), guard: null, writes: puts };
    }
    default:
      return swapOf(kind, operation, clients.seen(name), puts);
  }
}

function swapOf(
  kind: OperationKind,
  operation: Operation,
  seen: Seen | undefined,
  writes: readonly KeyValue[],
): Request {
  const name = operation.keys[0]!;
  const key = bytesOf(name);
  if (kind === "create" || seen === undefined) {
    const compare = [
      { result: equal, target: target.version, key, targetUnion: { case: "version" as const, value: 0 } },
    ];
    return { call: swap(operation, compare), guard: [name, null], writes };
  }
  const compare =
    kind === "swapRevision"
      ? {
          result: equal,
          target: target.mod,
          key,
          targetUnion: { case: "modRevision" as const, value: seen.modRevision },
        }
      : {
          result: equal,
          target: target.value,
          key,
          targetUnion: { case: "value" as const, value: bytesOf(seen.value) },
        };
  return { call: swap(operation, [compare]), guard: [name, seen.value], writes };
}

/** Pairs of key and value; keys that are not there are null. */
function observedIn(keys: readonly string[], kvs: readonly Kv[]): KeyValue[] {
  return keys.map((key) => {
    const found = kvs.find((kv) => textOf(kv.key) === key);
    return [key, found === undefined ? null : textOf(found.value)];
  });
}

function prevKvs(responses: readonly ResponseOp[]): Kv[] {
  return responses.flatMap(({ response }) =>
    response?.case === "responsePut" && response.value.prevKv !== undefined ? [response.value.prevKv] : [],
  );
}
function rangedKvs(responses: readonly ResponseOp[]): Kv[] {
  return responses.flatMap(({ response }) => (response?.case === "responseRange" ? response.value.kvs : []));
}

/** After a write that was told to have succeeded, its keys hold what it wrote. */
function written(writes: readonly KeyValue[], modRevision: number): Kv[] {
  return writes.flatMap(([key, value]) =>
    value === null
      ? []
      : [{ key: bytesOf(key), value: bytesOf(value), modRevision, createRevision: 0, version: 0, lease: 0n }],
  );
}

function answerOf(kind: OperationKind, keys: readonly string[], message: Uint8Array, request: Request): Answer {
  const revisionOf = (response: Response): number => response.header?.revision ?? 0;
  switch (kind) {
    case "put": {
      const response = decodePutResponse(message, 0, message.length);
      const before = response.prevKv === undefined ? [] : [response.prevKv];
      const revision = revisionOf(response);
      const seen = written(request.writes, revision);
      return { text: describePut(response), revision, succeeded: true, observed: observedIn(keys, before), seen };
    }
    case "delete": {
      const response = decodeDeleteRangeResponse(message, 0, message.length);
      const observed = observedIn(keys, response.prevKvs);
      return { text: describeDelete(response), revision: revisionOf(response), succeeded: true, observed, seen: [] };
    }
    case "getOld": {
      const response = decodeRangeResponse(message, 0, message.length);
      return { text: describeRange(response), revision: revisionOf(response), succeeded: true, observed: [], seen: [] };
    }
    case "get":
    case "localGet": {
      const response = decodeRangeResponse(message, 0, message.length);
      const observed = observedIn(keys, response.kvs);
      const revision = revisionOf(response);
      return { text: describeRange(response), revision, succeeded: true, observed, seen: response.kvs };
    }
    default: {
      const response = decodeTxnResponse(message, 0, message.length);
      const { succeeded, responses } = response;
      const [before, found] = [prevKvs(responses), rangedKvs(responses)];
      const wrote = succeeded && kind !== "getTwo";
      const revision = revisionOf(response);
      const seen = wrote ? written(request.writes, revision) : found;
      const observed = observedIn(keys, wrote ? before : found);
      return { text: describeTxn(response), revision, succeeded, observed, seen };
    }
  }
}
