/**
 * Watchers beside the load of the crash test. Each goes on from the last revision that it was told whole when its
 * server is back, as clients do, and is then held against the history: every event of its range exactly once, in
 * order, with the right previous value; none after the notice of its revision; and none that the server has forgotten.
 */
import assert from "node:assert/strict";
import { base64, decodeMessage, encodeMessage, GrpcStream, type Json, type JsonObject } from "../support/index.js";
import type { History, HistoryEvent, KeyState } from "./history.js";

const settleMsMax = 30_000;
const askEveryMs = 50;
const text = (value: Json | undefined): string => Buffer.from(String(value ?? ""), "base64").toString();

/** What is watched, and from where. */
export interface WatchOptions {
  readonly key: string;
  readonly end?: string;
  /** 0: from what is made after the watch. */
  readonly start: number;
  readonly noPut?: boolean;
  readonly fragment?: boolean;
  readonly progressNotify?: boolean;
}

const stateOf = (kv: JsonObject): KeyState => ({
  key: text(kv["key"]),
  value: text(kv["value"]),
  create: Number(kv["create_revision"]),
  mod: Number(kv["mod_revision"]),
  version: Number(kv["version"]),
});

const eventOf = (event: JsonObject): HistoryEvent => {
  const kv = event["kv"] as JsonObject;
  const previous = event["prev_kv"] === undefined ? undefined : stateOf(event["prev_kv"] as JsonObject);
  const revision = Number(kv["mod_revision"]);
  if (event["type"] === 1) return { revision, key: text(kv["key"]), state: undefined, previous };
  return { revision, key: text(kv["key"]), state: stateOf(kv), previous };
};

const isWatched = ({ key, end, noPut }: WatchOptions, event: HistoryEvent): boolean => {
  if (noPut === true && event.state !== undefined) return false;
  if (end === undefined) return event.key === key;
  return event.key >= key && (end === "\0" || event.key < end);
};

/** What a watch of these options from `from` on must have been told up to the history's newest revision. */
export const expectedEvents = (history: History, options: WatchOptions, from: number): HistoryEvent[] =>
  history.events.filter((event) => event.revision >= from && isWatched(options, event));

/** Throws unless exactly these were told. */
export const checkEvents = (told: readonly HistoryEvent[], expected: readonly HistoryEvent[], what: string): void => {
  for (let i = 0; i < Math.max(told.length, expected.length); i++) {
    assert.deepEqual(told[i], expected[i], `${what}: event ${i} of ${told.length}, ${expected.length} expected`);
  }
};

export class CrashWatcher {
  readonly #options: WatchOptions;
  /** The first revision that it is to be told of; 0 until the server has named it. */
  #from: number;
  /** The first revision that it has not been told whole. */
  #next: number;
  /** The newest revision of which a notice said that all is told. */
  #noticed = 0;
  #told: HistoryEvent[] = [];
  /** Fragments whose last has not come. */
  #fragments: HistoryEvent[] = [];
  #stream: GrpcStream | null = null;

  constructor(options: WatchOptions) {
    this.#options = options;
    this.#from = this.#next = options.start;
  }

  /** Begins on a new server, or goes on. */
  open(port: number): void {
    const { key, end, noPut, fragment, progressNotify } = this.#options;
    this.#stream = new GrpcStream(port, "/etcdserverpb.Watch/Watch");
    this.#send({
      create_request: {
        key: base64(key),
        range_end: end === undefined ? "" : base64(end),
        start_revision: String(this.#next),
        prev_kv: true,
        fragment: fragment === true,
        progress_notify: progressNotify === true,
        filters: noPut === true ? [0] : [],
      },
    });
  }

  /** Takes what has come, and leaves the server. */
  close(): void {
    this.#drain();
    this.#stream?.close();
    this.#stream = null;
    this.#fragments = [];
  }

  /**
   * Returns when all up to `revision` was told, by events or by a notice. A watch that went on above it gets no notice:
   * its start has not come.
   */
  async settle(revision: number): Promise<void> {
    const stream = this.#stream;
    if (stream === null) throw new Error("the watcher is not open");
    for (const end = performance.now() + settleMsMax; this.#next === 0 || this.#next <= revision;) {
      assert.ok(performance.now() < end, `${this.#name}: no notice of ${revision} within ${settleMsMax} ms`);
      this.#send({ progress_request: {} });
      await stream.changed(askEveryMs);
      this.#drain();
      assert.equal(stream.end, null, `${this.#name}: the stream has ended`);
    }
  }

  /** Compares what was told since the last check with the history, and forgets it; the number of events. */
  check(history: History): number {
    const expected = expectedEvents(history, this.#options, this.#from);
    checkEvents(this.#told, expected, this.#name);
    this.#from = this.#next = history.revision + 1;
    this.#told = [];
    return expected.length;
  }

  get #name(): string {
    return `watch ${JSON.stringify(this.#options)}`;
  }

  #send(request: JsonObject): void {
    this.#stream?.send(encodeMessage("etcdserverpb.WatchRequest", request));
  }

  #drain(): void {
    for (const bytes of this.#stream?.take() ?? []) {
      this.#take(decodeMessage("etcdserverpb.WatchResponse", bytes).plain);
    }
  }

  #take(response: JsonObject): void {
    const revision = Number((response["header"] as JsonObject)["revision"]);
    assert.equal(response["canceled"], undefined, `${this.#name}: canceled: ${JSON.stringify(response)}`);
    if (response["created"] === true) {
      if (this.#next === 0) this.#from = this.#next = revision + 1;
      return;
    }
    const events = ((response["events"] ?? []) as JsonObject[]).map(eventOf);
    if (events.length === 0) {
      assert.equal(this.#fragments.length, 0, `${this.#name}: a notice among fragments`);
      this.#noticed = Math.max(this.#noticed, revision);
      this.#next = Math.max(this.#next, revision + 1);
      return;
    }
    for (const { revision: told } of events) {
      assert.ok(told >= this.#next, `${this.#name}: ${told} is told, though all below ${this.#next} was`);
      assert.ok(told > this.#noticed, `${this.#name}: ${told} is told after the notice of ${this.#noticed}`);
    }
    this.#fragments.push(...events);
    if (response["fragment"] === true) return;
    this.#told.push(...this.#fragments);
    this.#fragments = [];
    this.#next = this.#told.at(-1)!.revision + 1;
  }
}
