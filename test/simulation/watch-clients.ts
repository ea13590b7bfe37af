/**
 * Clients that watch: each a stream with one watcher, which it creates again where it stood whenever its stream is
 * gone. Every response is checked against the oracle: each event of the range exactly once, in order, whole revisions,
 * progress only when nothing before it is missing.
 */
import {
  decodeWatchResponse,
  encodeWatchRequest,
  type Event,
  type WatchRequestInit,
  type WatchResponse,
} from "../../src/proto/index.js";
import { isNoLeader } from "./calls.js";
import { memberFor } from "./lease-clients.js";
import { describeKeyValue, type OracleEvent } from "./oracle.js";
import type { WatchLife } from "./scenario.js";
import { StreamCall } from "./streams.js";
import type { World } from "./world.js";

const eventDelete = 1;
const filterNoPut = 0;
const filterNoDelete = 1;
const noWatchId = -1n;

const bytesOf = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, "latin1"));
const textOf = (bytes: Uint8Array): string => Buffer.from(bytes).toString("latin1");

export class WatchClients {
  readonly #world: World;
  readonly #watchers: WatchClient[] = [];

  constructor(world: World) {
    this.#world = world;
  }

  schedule(lives: readonly WatchLife[]): void {
    for (const life of lives) {
      this.#world.timeline.at(life.atMs, () => {
        const watcher = new WatchClient(this.#world, life);
        this.#watchers.push(watcher);
        watcher.open();
      });
    }
  }

  get counts(): {
    watches: number;
    watchEvents: number;
    progressed: number;
    resumed: number;
    leaderlessStreams: number;
  } {
    const sum = (of: (watcher: WatchClient) => number): number => this.#watchers.reduce((n, each) => n + of(each), 0);
    return {
      watches: this.#watchers.length,
      watchEvents: sum(({ received }) => received),
      progressed: sum(({ progressed }) => progressed),
      resumed: sum(({ resumed }) => resumed),
      leaderlessStreams: sum(({ leaderless }) => leaderless),
    };
  }

  /** Everyone has all that there is. */
  get done(): boolean {
    return this.#watchers.every(({ isComplete }) => isComplete);
  }

  describe(): string {
    return this.#watchers.flatMap((each) => (each.isComplete ? [] : [each.describe()])).join("; ");
  }
}

class WatchClient {
  readonly #world: World;
  readonly #life: WatchLife;
  #stream: StreamCall | null = null;
  #watchId = noWatchId;
  #created = false;
  #cancelled = false;
  /** The next event is of this revision or a later one; 0: from wherever the creation is answered. */
  #next: number;
  /** The place in the oracle's events from which to look. */
  #at = 0;
  received = 0;
  progressed = 0;
  resumed = 0;
  /** Streams that were refused, or ended, as their member knew no leader. */
  leaderless = 0;

  constructor(world: World, life: WatchLife) {
    this.#world = world;
    this.#life = life;
    const { toldRevision } = world.clients;
    this.#next = life.start === null ? 0 : Math.max(1, toldRevision + life.start);
    if (life.cancelAfterMs !== null) world.timeline.after(life.cancelAfterMs, () => this.#cancel());
    if (life.progressEveryMs !== null) this.#askProgress(life.progressEveryMs);
  }

  /** No event is missing; or it is over. */
  get isComplete(): boolean {
    return this.#cancelled || (this.#created && this.#missing() === null);
  }

  describe(): string {
    const { key, rangeEnd } = this.#life;
    const missing = this.#missing();
    return `watch of ${key} to ${rangeEnd} from ${this.#next}: ${this.#created ? "" : "not created; "}${missing?.shown.slice(0, 80) ?? ""}`;
  }

  open(): void {
    if (this.#cancelled) return;
    const at = memberFor(this.#world, this.#life.member + this.resumed);
    if (at === null) return this.#again();
    const readMs = (): number => (this.#world.healed ? 0 : this.#life.slowMs);
    this.#created = false;
    const stream = new StreamCall(
      this.#world,
      at,
      { kind: "watch", needsLeader: this.#life.needsLeader === true, readMs },
      {
        message: (bytes) => {
          if (this.#stream === stream) this.#received(decodeWatchResponse(bytes), at.name);
        },
        ended: (reply) => {
          if (isNoLeader(reply)) this.leaderless++;
          if (this.#stream === stream) this.#again();
        },
      },
    );
    this.#stream = stream;
    stream.send(encodeWatchRequest(this.#createRequest()));
  }

  #createRequest(): WatchRequestInit {
    const { key, rangeEnd, prevKv, noPut, noDelete, progressNotify, watchId } = this.#life;
    const filters = [...(noPut ? [filterNoPut] : []), ...(noDelete ? [filterNoDelete] : [])];
    const value = {
      key: bytesOf(key),
      rangeEnd: bytesOf(rangeEnd),
      startRevision: this.#next,
      filters,
      prevKv,
      progressNotify,
      fragment: true,
      watchId: BigInt(watchId),
    };
    return { requestUnion: { case: "createRequest", value } };
  }

  /** The stream is gone: another, a little later. */
  #again(): void {
    this.#stream = null;
    this.#created = false;
    // The rest of a revision that came in fragments is not known to the member.
    this.#at = 0;
    this.resumed++;
    this.#world.timeline.after(this.#world.netChance.around(50), () => this.open());
  }

  #cancel(): void {
    if (this.#created) {
      const value = { watchId: this.#watchId };
      this.#stream?.send(encodeWatchRequest({ requestUnion: { case: "cancelRequest", value } }));
    }
    this.#cancelled = true;
  }

  #askProgress(everyMs: number): void {
    this.#world.timeline.after(everyMs, () => {
      if (this.#cancelled || this.#world.healed) return;
      this.#stream?.send(encodeWatchRequest({ requestUnion: { case: "progressRequest", value: {} } }));
      this.#askProgress(everyMs);
    });
  }

  #received(response: WatchResponse, from: string): void {
    const revision = response.header?.revision ?? 0;
    if (response.created) return this.#wasCreated(response, revision, from);
    if (response.canceled) return this.#wasCancelled(response, from);
    if (!this.#created) this.#fail(from, "a response before the answer to the creation");
    if (response.watchId !== this.#watchId && response.watchId !== noWatchId)
      this.#fail(from, `a response of watch ${response.watchId}`);
    if (response.events.length === 0) return this.#progress(revision, from);
    for (const event of response.events) this.#event(event, from);
    const last = response.events.at(-1)!.kv!.modRevision;
    if (response.fragment) return;
    if (this.#missing()?.revision === last) this.#fail(from, "half a revision");
    this.#next = last + 1;
  }

  #wasCreated(response: WatchResponse, revision: number, from: string): void {
    if (response.canceled) this.#fail(from, `creation refused: ${response.cancelReason}`);
    this.#created = true;
    this.#watchId = response.watchId;
    if (this.#life.watchId !== 0 && response.watchId !== BigInt(this.#life.watchId)) this.#fail(from, "another ID");
    if (this.#next === 0) this.#next = revision + 1;
  }

  #wasCancelled({ compactRevision }: WatchResponse, from: string): void {
    if (this.#cancelled) return;
    const { oracle } = this.#world.checker;
    if (compactRevision === 0 || compactRevision > oracle.compactRevision || this.#next > compactRevision)
      this.#fail(from, `cancelled at ${this.#next}, compacted to ${compactRevision}`);
    // What is gone is gone: it goes on with what there is, on a new stream.
    this.#next = compactRevision + 1;
    this.#stream?.close();
    this.#again();
  }

  #progress(revision: number, from: string): void {
    this.progressed++;
    const missing = this.#missing();
    if (missing !== null && missing.revision <= revision) {
      this.#fail(from, `progress to ${revision} before ${missing.shown.slice(0, 80)}`);
    }
    this.#next = Math.max(this.#next, revision + 1);
  }

  #event(event: Event, from: string): void {
    const expected = this.#missing();
    const shown = describeEvent(event);
    if (expected === null || shown !== expected.shown)
      this.#fail(from, `${shown.slice(0, 80)}, not ${expected?.shown.slice(0, 80) ?? "nothing"}`);
    const before = event.prevKv === undefined ? "" : describeKeyValue(event.prevKv);
    // Of a key whose former state is compacted there may be none.
    const isRight = this.#life.prevKv
      ? before === expected.before ||
        (before === "" && expected.revision <= this.#world.checker.oracle.compactRevision + 1)
      : before === "";
    if (!isRight) this.#fail(from, `${shown} was ${before}, not ${expected.before}`);
    this.received++;
    this.#next = expected.revision;
    this.#at++;
  }

  /** The first event that it has not had and should have; null: none. Moves `#at` there. */
  #missing(): OracleEvent | null {
    const { events } = this.#world.checker.oracle;
    if (this.#next === 0) return null;
    while (this.#at < events.length && !this.#wants(events[this.#at]!)) this.#at++;
    return events[this.#at] ?? null;
  }

  #wants({ revision, key, isDelete }: OracleEvent): boolean {
    const { key: first, rangeEnd, noPut, noDelete } = this.#life;
    if (revision < this.#next || (isDelete ? noDelete : noPut)) return false;
    if (rangeEnd === "") return key === first;
    return key >= first && (rangeEnd === "\0" || key < rangeEnd);
  }

  #fail(from: string, what: string): never {
    const { key, rangeEnd } = this.#life;
    const range = rangeEnd === "" ? key : `${key} to ${JSON.stringify(rangeEnd)}`;
    return this.#world.fail("watchers see each event once in order", `${from}, ${range} at ${this.#next}: ${what}`);
  }
}

function describeEvent({ type, kv }: Event): string {
  if (kv === undefined) return "an event without a key";
  if (type === eventDelete) return `${textOf(kv.key)} deleted at ${kv.modRevision}`;
  return describeKeyValue(kv);
}
