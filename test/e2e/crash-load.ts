/**
 * The load of one crash round: several connections with several writers each, every write marked by
 * a value of its own, and what became of each: acknowledged at a revision, or unknown.
 */
import {
  base64,
  decodeMessage,
  encodeMessage,
  GrpcClient,
  Prng,
  type GrpcReply,
  type JsonObject,
} from "../support/index.js";
import type { Change } from "./history.js";

/** One write and its fate. */
export interface Write {
  readonly id: string;
  readonly changes: readonly Change[];
  /** The highest revision acknowledged to anyone before this write was sent. */
  readonly after: number;
  /** The revision of its acknowledgement; null while unknown. */
  revision: number | null;
  /** Acknowledged as having changed nothing. */
  wasEmpty: boolean;
}

const sharedKeys = Array.from({ length: 40 }, (_, i) => `shared/${i}`);

const someChanges = (prng: Prng, id: string): Change[] => {
  const key = prng.pick(sharedKeys);
  const other = prng.pick(sharedKeys.filter((name) => name !== key));
  // Some values are long, so that batches and segments differ in size.
  const value = prng.oneIn(20) ? `${id}/${"x".repeat(prng.between(500, 20_000))}` : id;
  switch (prng.weighted({ put: 50, unique: 10, delete: 12, txn: 28 })) {
    case "put":
      return [{ kind: "put", key, value }];
    case "unique":
      return [{ kind: "put", key: `unique/${id}`, value }];
    case "delete":
      return [{ kind: "delete", key }];
    case "txn":
      return [
        { kind: "put", key: `unique/${id}`, value: id },
        { kind: "put", key, value },
        { kind: "delete", key: other },
      ];
  }
};

const requestOp = (change: Change): JsonObject =>
  change.kind === "put"
    ? { request_put: { key: base64(change.key), value: base64(change.value) } }
    : { request_delete_range: { key: base64(change.key) } };

const encodeWrite = (changes: readonly Change[]): { path: string; body: Buffer; response: string } => {
  const [first] = changes;
  if (first === undefined) throw new Error("empty write");
  if (changes.length > 1) {
    const body = encodeMessage("etcdserverpb.TxnRequest", { success: changes.map(requestOp) });
    return { path: "/etcdserverpb.KV/Txn", body, response: "etcdserverpb.TxnResponse" };
  }
  if (first.kind === "put") {
    const body = encodeMessage("etcdserverpb.PutRequest", { key: base64(first.key), value: base64(first.value) });
    return { path: "/etcdserverpb.KV/Put", body, response: "etcdserverpb.PutResponse" };
  }
  const body = encodeMessage("etcdserverpb.DeleteRangeRequest", { key: base64(first.key) });
  return { path: "/etcdserverpb.KV/DeleteRange", body, response: "etcdserverpb.DeleteRangeResponse" };
};

/** What to run. */
export interface LoadOptions {
  readonly port: number;
  readonly seed: number;
  readonly round: number;
  readonly connections: number;
  readonly writersPerConnection: number;
  /** `reached` settles at so many acknowledgements. */
  readonly reachAt: number;
}

/** The running load. */
export class Load {
  readonly writes: Write[] = [];
  readonly reached: Promise<void>;
  readonly #options: LoadOptions;
  readonly #clients: GrpcClient[];
  #highest: number;
  #reach = (): void => {};
  #acknowledged = 0;
  #stopped = false;

  /** `highest`: the revision that the store is known to be at. */
  constructor(options: LoadOptions, highest: number) {
    this.#options = options;
    this.#highest = highest;
    this.reached = new Promise((resolve) => (this.#reach = resolve));
    this.#clients = Array.from({ length: options.connections }, () => new GrpcClient(options.port));
  }

  /** Returns when the server is gone or `stop` was called: every writer ends at its first failure. */
  async run(): Promise<void> {
    const writers = this.#clients.flatMap((client, c) =>
      Array.from({ length: this.#options.writersPerConnection }, (_, w) => this.#writer(client, `${c}-${w}`)),
    );
    await Promise.all(writers);
    for (const client of this.#clients) client.close();
  }

  stop(): void {
    this.#stopped = true;
  }

  get acknowledged(): number {
    return this.#acknowledged;
  }

  async #writer(client: GrpcClient, name: string): Promise<void> {
    const { seed, round } = this.#options;
    const hash = Buffer.from(name).reduce((sum, byte) => (sum * 31 + byte) >>> 0, round * 7919);
    const prng = new Prng((seed ^ hash) >>> 0);
    for (let n = 0; !this.#stopped; n++) {
      const id = `r${round}-${name}-${n}`;
      const write: Write = {
        id,
        changes: someChanges(prng, id),
        after: this.#highest,
        revision: null,
        wasEmpty: false,
      };
      this.writes.push(write);
      const { path, body, response } = encodeWrite(write.changes);
      const reply = await client.unary(path, body).catch(() => null);
      if (reply === null || reply.status !== 0) {
        if (reply !== null && reply.status > 0 && reply.status !== 14) throw new Error(`${id}: ${reply.message}`);
        return;
      }
      this.#acknowledge(write, reply, response);
    }
  }

  #acknowledge(write: Write, reply: GrpcReply, response: string): void {
    const { plain } = decodeMessage(response, reply.messages[0] ?? Buffer.alloc(0));
    write.revision = Number((plain["header"] as JsonObject)["revision"]);
    write.wasEmpty = response.endsWith("DeleteRangeResponse") && (plain["deleted"] ?? "0") === "0";
    if (write.revision > this.#highest) this.#highest = write.revision;
    if (++this.#acknowledged === this.#options.reachAt) this.#reach();
  }
}
