/**
 * Watches that stay open on one server, all on one stream, while other operations change its store. What they were told
 * is taken up to a progress answer, which comes only when every watch of the stream has all there is.
 */
import {
  decodeMessage,
  encodeMessage,
  GrpcStream,
  isJsonList,
  isJsonObject,
  type GrpcClient,
  type Json,
  type JsonObject,
} from "../support/index.js";
import type { Outcome } from "./operation.js";
import { reduced } from "./reduced.js";

const answerMsMax = 30_000;
/** A progress request is dropped, not kept, while a watch is read up: so often it is made again. */
const askEveryMs = 60;

const asObject = (value: Json | undefined): JsonObject => (isJsonObject(value) ? value : {});

const revisionOf = (message: JsonObject): number => Number(asObject(message["header"])["revision"]);

/**
 * A watch that fell behind is read up, and then told the revision of that time: with events the header's must only not be
 * before them. (watch.test.ts compares it where none falls behind.)
 */
const withoutLag = (response: JsonObject): JsonObject => {
  const events = response["events"];
  if (!isJsonList(events) || events.length === 0) return response;
  const { revision: _, ...header } = asObject(response["header"]);
  const last = Number(asObject(asObject(events.at(-1))["kv"])["mod_revision"]);
  return { ...response, header: { ...header, isBefore: revisionOf(response) < last } };
};

/** Responses by watch, in order: watches of one stream may be served in any order. */
const byWatch = (responses: readonly JsonObject[]): JsonObject => {
  const groups: Record<string, JsonObject[]> = {};
  for (const response of responses) (groups[String(response["watch_id"] ?? "0")] ??= []).push(response);
  return groups;
};

/** The watches of one server. */
export class LiveWatches {
  readonly #port: number;
  readonly #client: GrpcClient;
  #stream: GrpcStream | null = null;
  #told: JsonObject[] = [];
  #isCanonical = true;
  /** The latest revision of a progress answer. */
  #progress = 0;
  /** Cancels that are not answered yet. */
  #canceling = 0;

  constructor(port: number, client: GrpcClient) {
    this.#port = port;
    this.#client = client;
  }

  /** Opens watches in the place of those that are open; what they are told of history is the answer. */
  async open(creates: readonly JsonObject[]): Promise<Outcome> {
    this.close();
    const stream = new GrpcStream(this.#port, "/etcdserverpb.Watch/Watch");
    this.#stream = stream;
    for (const create_request of creates) this.#send(stream, { create_request });
    // Real etcd may answer a progress request before a create that it has read earlier.
    const created = (): number => this.#told.filter((response) => response["created"] === true).length;
    await this.#until(stream, { isOver: () => created() === creates.length, asks: false });
    return this.look();
  }

  /** What the watches have been told since the last look; nothing when none are open. */
  async look(): Promise<Outcome> {
    const stream = this.#stream;
    if (stream !== null) {
      // An answer to an earlier request may come late: it must tell of all that has been done by now.
      const current = await this.#currentRevision();
      await this.#until(stream, { isOver: () => this.#progress >= current && this.#canceling === 0, asks: true });
    }
    const body = byWatch(this.#told.splice(0));
    return { status: 0, message: "", httpStatus: 200, headers: {}, body, canonical: this.#isCanonical };
  }

  close(): void {
    this.#stream?.close();
    this.#stream = null;
    this.#told = [];
    this.#isCanonical = true;
    this.#progress = this.#canceling = 0;
  }

  #send(stream: GrpcStream, message: JsonObject): void {
    stream.send(encodeMessage("etcdserverpb.WatchRequest", message));
  }

  async #currentRevision(): Promise<number> {
    const request = encodeMessage("etcdserverpb.StatusRequest", {});
    const reply = await this.#client.unary("/etcdserverpb.Maintenance/Status", request);
    return revisionOf(decodeMessage("etcdserverpb.StatusResponse", reply.messages[0] ?? Buffer.alloc(0)).plain);
  }

  async #until(stream: GrpcStream, { isOver, asks }: { isOver: () => boolean; asks: boolean }): Promise<void> {
    let askedMs = -Infinity;
    for (const endMs = performance.now() + answerMsMax; !isOver();) {
      const nowMs = performance.now();
      if (stream.end !== null || nowMs > endMs) throw new Error("the open watches came to no end");
      if (asks && nowMs - askedMs >= askEveryMs) {
        askedMs = nowMs;
        this.#send(stream, { progress_request: {} });
      }
      await stream.changed(askEveryMs);
      for (const bytes of stream.take()) this.#take(stream, bytes);
    }
  }

  #take(stream: GrpcStream, bytes: Buffer): void {
    const { plain, canonical } = decodeMessage("etcdserverpb.WatchResponse", bytes);
    this.#isCanonical &&= canonical;
    const isCreated = plain["created"] === true;
    if (plain["watch_id"] === "-1" && !isCreated) {
      this.#progress = Math.max(this.#progress, revisionOf(plain));
      return;
    }
    this.#told.push(withoutLag(reduced(plain)));
    if (plain["compact_revision"] !== undefined) {
      // Such a watch holds up every progress answer of its stream until it is canceled.
      this.#canceling++;
      this.#send(stream, { cancel_request: { watch_id: plain["watch_id"] ?? "0" } });
    } else if (plain["canceled"] === true && !isCreated) this.#canceling--;
  }
}
