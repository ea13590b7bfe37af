/**
 * Random changes, watches, cancels, compactions, progress requests and readers that stop, against a history that is
 * walked whole: every watcher gets each event of its range once, in order, whole revisions at a time.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { SeededPrng } from "../../base/index.js";
import type { Event, WatchResponse } from "../../proto/index.js";
import { usualLongLimits, type LongLimits } from "./long-response.js";
import { textOf, WatchRig } from "./rig.test-support.js";

const seedGiven = process.env["SEED"];
const seeds = seedGiven === undefined ? [1, 2, 3, 4, 5, 6] : [Number(seedGiven)];
const steps = 2500;
/** Nearly every response is made in slices. */
const tinyLimits: LongLimits = {
  shortEvents: 2,
  shortBytes: 1000,
  shortPrevious: 1,
  counted: 60,
  previous: 40,
  written: 50,
  bytes: 10_000,
};

/** One event as the model and the checks see it. */
interface Seen {
  readonly revision: number;
  readonly text: string;
}

interface Watch {
  readonly callId: number;
  readonly id: bigint;
  readonly key: string;
  readonly end: string;
  readonly from: number;
  readonly startRevision: number;
  readonly noPut: boolean;
  readonly noDelete: boolean;
  readonly prevKv: boolean;
  readonly seen: Seen[];
  /** Parts of a revision that is not yet whole: more fragments follow. */
  fragmented: boolean;
  state: "open" | "compacted" | "canceled";
  /** What it is to get, of so many changes of the history. */
  readonly expected: Change[];
  looked: number;
}

interface Kv {
  create: number;
  version: number;
  value: string;
  mod: number;
}

interface Change {
  readonly revision: number;
  readonly key: string;
  readonly isDelete: boolean;
  readonly kv: Kv | null;
  readonly before: Kv | null;
}

function holds({ key: start, end }: Watch, key: string): boolean {
  return end === "" ? key === start : key >= start && (end === "\0" || key < end);
}

class Run {
  readonly rig: WatchRig;
  readonly prng: SeededPrng;
  /** Events with what was there before, by revision. */
  readonly history: Change[] = [];
  readonly live = new Map<string, Kv>();
  readonly watches: Watch[] = [];
  /** Of each stream: requests whose answers have not come, in order. */
  readonly asked = new Map<number, ((response: WatchResponse) => void)[]>();
  compactRevision = 0;
  progressSeen = 0;
  compactedSeen = 0;
  #nextCall = 1;

  constructor(rig: WatchRig, seed: number) {
    this.rig = rig;
    this.prng = new SeededPrng(seed);
  }

  key(): string {
    return "abcdefgh"[this.prng.below(8)]! + ["", "1", "\xff"][this.prng.below(3)]!;
  }

  change(): void {
    const { rig, prng } = this;
    const revision = rig.store.currentRevision + 1;
    const many = prng.below(40) === 0 ? 1500 : 1 + prng.below(3);
    const used = new Set<string>();
    rig.txn(() => {
      for (let i = 0; i < many; i++) {
        const key = many > 3 ? `z${i}` : this.key();
        if (i > 900 && prng.below(100) === 0) this.#meanwhile();
        if (used.has(key)) continue;
        used.add(key);
        if (prng.below(3) === 0) this.#remove(key, revision);
        else this.#put(key, "x".repeat(many < 4 && prng.below(10) === 0 ? 20_000 : prng.below(50)), revision);
      }
    });
  }

  /** Between two slices of a long transaction. */
  #meanwhile(): void {
    const callId = this.anyCall();
    const what = this.prng.below(4);
    if (what === 0) this.rig.turn();
    else if (what === 1) this.cancel();
    else if (callId !== undefined && this.watches.length < 400) this.create(callId);
    this.rig.watches.flush();
    this.take();
  }

  #put(key: string, value: string, revision: number): void {
    const before = this.live.get(key) ?? null;
    const kv = { create: before?.create ?? revision, version: (before?.version ?? 0) + 1, value, mod: revision };
    this.rig.putOne(key, value);
    this.live.set(key, kv);
    this.history.push({ revision, key, isDelete: false, kv, before });
  }

  #remove(key: string, revision: number): void {
    const before = this.live.get(key);
    if (this.rig.removeSome(key) === 0) return;
    this.live.delete(key);
    this.history.push({ revision, key, isDelete: true, kv: null, before: before! });
  }

  open(): void {
    const callId = this.#nextCall++;
    this.rig.open(callId).slow = this.prng.below(3) === 0;
    this.asked.set(callId, []);
  }

  anyCall(): number | undefined {
    const calls = [...this.rig.clients.keys()];
    return calls.length === 0 ? undefined : calls[this.prng.below(calls.length)];
  }

  create(callId: number): void {
    const { rig, prng } = this;
    const current = rig.store.currentRevision;
    const startRevision = [0, 1 + prng.below(current), current + 1 + prng.below(20)][prng.below(3)]!;
    const request = {
      key: this.key(),
      end: ["", "\0", "f", "zz"][prng.below(4)]!,
      startRevision,
      filters: [[], [0], [1]][prng.below(3)]!,
      prevKv: prng.below(2) === 0,
      fragment: prng.below(2) === 0,
    };
    this.asked.get(callId)!.push((response) => {
      assert.ok(response.created, "the answer to a creation");
      if (response.canceled) {
        assert.equal(response.cancelReason, "mvcc: watcher range is empty");
        return assert.ok(request.end !== "" && request.end !== "\0" && request.key >= request.end);
      }
      assert.equal(Number(response.header!.revision), current);
      this.watches.push({
        callId,
        id: response.watchId,
        key: request.key,
        end: request.end,
        startRevision,
        from: startRevision === 0 ? current + 1 : startRevision,
        noPut: request.filters.includes(0),
        noDelete: request.filters.includes(1),
        prevKv: request.prevKv,
        seen: [],
        fragmented: false,
        state: "open",
        expected: [],
        looked: 0,
      });
    });
    rig.create(callId, request);
  }

  cancel(): void {
    const open = this.watches.filter(({ state, callId }) => state !== "canceled" && this.rig.clients.has(callId));
    const watch = open[this.prng.below(Math.max(1, open.length))];
    if (watch === undefined) return;
    this.asked.get(watch.callId)!.push((response) => {
      assert.ok(response.canceled && response.watchId === watch.id && response.compactRevision === 0, "a cancel");
      watch.state = "canceled";
    });
    this.rig.cancel(watch.callId, watch.id);
    this.rig.watches.flush();
    this.take();
  }

  compact(): void {
    const { currentRevision } = this.rig.store;
    const revision = this.compactRevision + 1 + this.prng.below(Math.max(1, currentRevision - this.compactRevision));
    if (revision > currentRevision) return;
    this.rig.compact(revision);
    this.compactRevision = revision;
  }

  /** Looks at what has come. */
  take(): void {
    for (const [callId, client] of this.rig.clients) {
      assert.equal(client.end, null);
      for (const response of client.take()) this.#response(callId, response);
    }
  }

  #response(callId: number, response: WatchResponse): void {
    const revision = Number(response.header!.revision);
    const watch = this.watches.find(
      (each) => each.callId === callId && each.id === response.watchId && each.state !== "canceled",
    );
    if (response.compactRevision !== 0) {
      assert.ok(watch !== undefined && watch.state === "open" && response.canceled && !response.created);
      assert.equal(revision, 0);
      watch.state = "compacted";
      this.compactedSeen++;
      const next = this.#expected(watch)[watch.seen.length]?.revision ?? this.rig.store.currentRevision + 1;
      assert.ok(Math.max(watch.from, watch.seen.at(-1)?.revision ?? 0) < response.compactRevision);
      assert.ok(next >= watch.from);
    } else if (response.created || response.canceled) this.asked.get(callId)!.shift()!(response);
    else if (response.events.length === 0) this.#progress(callId, response, revision);
    else {
      assert.ok(watch !== undefined && watch.state === "open", "events of a watch that is not open");
      this.#events(watch, response, revision);
    }
  }

  /** Everything up to the revision has come. */
  #progress(callId: number, response: WatchResponse, revision: number): void {
    assert.equal(response.watchId, -1n);
    this.progressSeen++;
    for (const watch of this.watches) {
      if (watch.callId !== callId || watch.state === "canceled") continue;
      assert.equal(watch.state, "open", "a compacted watch has no progress");
      assert.ok(watch.startRevision <= revision, "progress before the start");
      const expected = this.#expected(watch).filter((event) => event.revision <= revision);
      assert.deepEqual(watch.seen.length, expected.length, "progress overtook events");
    }
  }

  #events(watch: Watch, { events, fragment }: WatchResponse, revision: number): void {
    const first = Number(events[0]!.kv!.modRevision);
    if (!watch.fragmented) assert.ok(first > (watch.seen.at(-1)?.revision ?? 0), "a revision was split");
    for (const event of events) {
      const mod = Number(event.kv!.modRevision);
      assert.ok(mod <= revision, "an event above its header");
      watch.seen.push({ revision: mod, text: describe(event, watch.prevKv) });
    }
    watch.fragmented = fragment;
    const at = watch.seen.length - events.length;
    const expected = this.#expected(watch).slice(at, watch.seen.length);
    assert.equal(expected.length, events.length);
    expected.forEach((wanted, i) => {
      const got = watch.seen[at + i]!;
      assert.equal(got.revision, wanted.revision);
      const texts = this.#texts(wanted, watch.prevKv);
      assert.ok(texts.includes(got.text), `${got.text} is not ${texts.join(" or ")}`);
    });
  }

  /** All that the watcher is to get, of the history so far. */
  #expected(watch: Watch): Change[] {
    for (; watch.looked < this.history.length; watch.looked++) {
      const change = this.history[watch.looked]!;
      if (change.revision < watch.from || !holds(watch, change.key)) continue;
      if (change.isDelete ? !watch.noDelete : !watch.noPut) watch.expected.push(change);
    }
    return watch.expected;
  }

  /** Texts that the event may have: a previous value may have been compacted away. */
  #texts({ revision, key, isDelete, kv, before }: Change, prevKv: boolean): string[] {
    const plain = isDelete ? `D ${key} ${revision}` : `P ${key} ${kvText(kv!)}`;
    const full = before === null || !prevKv ? plain : `${plain} < ${kvText(before)}`;
    return revision - 1 < this.compactRevision ? [full, plain] : [full];
  }

  /** All readers read, all is sent: nothing may be missing. */
  finish(): void {
    for (const client of this.rig.clients.values()) client.slow = false;
    this.rig.settle();
    this.take();
    for (const watch of this.watches) {
      if (watch.state !== "open" || !this.rig.clients.has(watch.callId)) continue;
      assert.equal(watch.seen.length, this.#expected(watch).length, "events are missing");
    }
  }
}

function kvText({ create, version, value, mod }: Kv): string {
  return `${create} ${mod} ${version} ${value.length}`;
}

function describe(event: Event, prevKv: boolean): string {
  const { type, kv, prevKv: before } = event;
  const number = (n: number | bigint): number => Number(n);
  const key = textOf(kv!.key);
  const text = (each: typeof kv): string =>
    `${number(each!.createRevision)} ${number(each!.modRevision)} ${number(each!.version)} ${each!.value.length}`;
  const plain = type === 1 ? `D ${key} ${number(kv!.modRevision)}` : `P ${key} ${text(kv)}`;
  if (!prevKv) assert.equal(before, undefined);
  return before === undefined ? plain : `${plain} < ${text(before)}`;
}

for (const seed of seeds) {
  test(`each event of its range once and in order, whatever happens (SEED=${seed})`, async () => {
    const longLimits = seed % 2 === 0 ? tinyLimits : usualLongLimits;
    const run = new Run(await WatchRig.open({ fragmentBytesMax: 30_000, longLimits }), seed);
    const { prng, rig } = run;
    for (let step = 0; step < steps; step++) {
      const what = prng.below(100);
      const callId = run.anyCall();
      if (what < 50) run.change();
      else if (what < 53 && rig.clients.size < 12) run.open();
      else if (callId === undefined) continue;
      else if (what < 63 && run.watches.length < 400) run.create(callId);
      else if (what < 66) run.cancel();
      else if (what < 70) rig.progress(callId);
      else if (what < 71) run.compact();
      else if (what < 72) rig.close(callId);
      else if (what < 76) rig.read(callId);
      else if (what < 77) rig.clients.get(callId)!.slow = prng.below(2) === 0;
      else rig.turn();
      rig.watches.flush();
      run.take();
      for (const client of rig.clients.values()) assert.ok(client.owed < 1_000_000, "a reader that stops is bounded");
    }
    run.finish();
    assert.ok(run.progressSeen > 0 && run.compactedSeen > 0 && run.watches.length > 50);
    for (const callId of [...rig.clients.keys()]) rig.close(callId);
    const { streams, watchers, slowWatchers, pendingEvents } = rig.watches;
    assert.deepEqual({ streams, watchers, slowWatchers }, { streams: 0, watchers: 0, slowWatchers: 0 });
    rig.turn();
    rig.turn();
    assert.equal(rig.watches.pendingEvents, 0, String(pendingEvents));
  });
}
