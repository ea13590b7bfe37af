/**
 * The same watches on a real etcd and on ours, while the same changes are made: the same events in the same responses.
 * A progress request is answered only when every watcher of its stream has all there is, so each step ends with one:
 * after it both sides have sent what the step gave rise to. SEED=<n> replays a run, STEPS=<n> sets its length.
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import { after, before, test } from "node:test";
import {
  chooseSeed,
  decodeMessage,
  encodeMessage,
  etcdBinaries,
  GrpcClient,
  GrpcStream,
  Member,
  optionsAlike,
  ourCommand,
  Prng,
  temporaryFolder,
  waitForStorageVersion,
  type Json,
  type JsonObject,
} from "../support/index.js";

const watchPath = "/etcdserverpb.Watch/Watch";
const answerMsMax = 60_000;
const askAgainMs = 2000;
/** Real etcd looks for watchers to be caught up so often, and answers no progress request before. */
const catchUpMs = 120;
const cache = await etcdBinaries();
const command = ourCommand();
const skip = cache.kind === "skipped" ? cache.reason : false;
const base64 = (text: string): string => Buffer.from(text, "latin1").toString("base64");

/** One server with its watch streams. */
class Side {
  readonly member: Member;
  readonly client: GrpcClient;
  readonly streams: GrpcStream[] = [];

  constructor(member: Member) {
    this.member = member;
    this.client = new GrpcClient(member.port);
  }

  async call(
    method: string,
    request: JsonObject,
  ): Promise<{ status: number; message: string; body: JsonObject | null }> {
    const name = method.slice(method.indexOf("/") + 1).replace("Compact", "Compaction");
    const message = encodeMessage(`etcdserverpb.${name}Request`, request);
    const reply = await this.client.unary(`/etcdserverpb.${method}`, message);
    const [first] = reply.messages;
    const body = first === undefined ? null : decodeMessage(`etcdserverpb.${name}Response`, first).plain;
    return { status: reply.status, message: reply.message, body };
  }

  open(headers: Readonly<Record<string, string>> = {}): GrpcStream {
    const stream = new GrpcStream(this.member.port, watchPath, headers);
    this.streams.push(stream);
    return stream;
  }

  request(stream: number, request: JsonObject): void {
    this.streams[stream]!.send(encodeMessage("etcdserverpb.WatchRequest", request));
  }

  /** Responses of the stream until one fits; resends `ask` while none does. */
  async until(stream: number, fits: (response: JsonObject) => boolean, ask: JsonObject | null): Promise<JsonObject[]> {
    const responses: JsonObject[] = [];
    const deadline = performance.now() + answerMsMax;
    let asked = performance.now();
    if (ask !== null) this.request(stream, ask);
    for (;;) {
      await this.streams[stream]!.changed(100);
      const arrived = this.streams[stream]!.take();
      for (const bytes of arrived) {
        const { plain, canonical } = decodeMessage("etcdserverpb.WatchResponse", bytes);
        assert.ok(canonical, "fields are not in Go's order");
        responses.push(plain);
      }
      if (responses.some(fits)) return responses;
      assert.equal(this.streams[stream]!.end, null, "the stream has ended");
      assert.ok(
        performance.now() < deadline,
        `no answer in ${answerMsMax} ms: ${responses.length} others, at last ${JSON.stringify(responses.at(-1) ?? null).slice(0, 500)}`,
      );
      // An answer that is only late must not be asked for again: it would be taken for the next one.
      if (ask === null || performance.now() - asked < askAgainMs) continue;
      asked = performance.now();
      this.request(stream, ask);
    }
  }
}

let sides: Side[] = [];
let removeFolder = async (): Promise<void> => {};

before(async () => {
  if (cache.kind === "skipped") return;
  const folder = await temporaryFolder();
  removeFolder = folder.remove;
  for (const [name, program] of [["etcd", [cache.binaries.etcd]] as const, ["ours", command] as const]) {
    const flags = ["--watch-progress-notify-interval=300ms", "--max-request-bytes=20000"];
    const member = await Member.start(await optionsAlike(program, join(folder.path, name), flags));
    await waitForStorageVersion(member.port);
    sides.push(new Side(member));
  }
});

after(async () => {
  for (const side of sides) {
    for (const stream of side.streams) stream.close();
    side.client.close();
    await side.member.kill();
  }
  sides = [];
  await removeFolder();
});

const isProgress = (response: JsonObject): boolean =>
  response["watch_id"] === "-1" && response["created"] === undefined;

const isCreated = (response: JsonObject): boolean => response["created"] === true;

/** Responses by watch, in order: watches of one stream may be served in any order. */
const byWatch = (responses: readonly JsonObject[]): Record<string, JsonObject[]> => {
  const groups: Record<string, JsonObject[]> = {};
  for (const response of responses) {
    if (isProgress(response)) continue;
    (groups[String((response["watch_id"] ?? "0") as string)] ??= []).push(response);
  }
  return Object.fromEntries(Object.entries(groups).toSorted(([a], [b]) => (a < b ? -1 : 1)));
};

/** The same on both sides; both must say the same. */
const both = async <T extends Json>(act: (side: Side) => Promise<T>, what: string): Promise<T> => {
  const [etcd, ours] = await Promise.all(sides.map(act));
  assert.deepEqual(ours, etcd, what);
  return etcd!;
};

const progress = { progress_request: {} };
const settle = (stream: number, what: string): Promise<Record<string, JsonObject[]>> =>
  both(
    async (side) => byWatch(await side.until(stream, isProgress, progress)) as unknown as JsonObject,
    what,
  ) as Promise<Record<string, JsonObject[]>>;

class Generator {
  readonly prng: Prng;
  revision = 1;
  compacted = 0;
  readonly open = new Set<string>();

  constructor(seed: number) {
    this.prng = new Prng(seed);
  }
  below(bound: number): number {
    return this.prng.below(bound);
  }
  key(): string {
    return base64("abcd"[this.below(4)]! + ["", "1", "\xff"][this.below(3)]!);
  }
  put(): JsonObject {
    return { key: this.key(), value: base64("v".repeat(this.below(30) === 0 ? 9000 : this.below(20))) };
  }
  remove(): JsonObject {
    return { key: this.key(), range_end: ["", base64("\0"), base64("c")][this.below(3)]! };
  }
  create(): JsonObject {
    const ids = ["0", "0", "0", String(1 + this.below(40)), "-77", "9223372036854775807"];
    return {
      create_request: {
        key: this.below(20) === 0 ? "" : this.key(),
        range_end: ["", "", base64("\0"), base64("c"), base64("zz")][this.below(5)]!,
        start_revision: ["0", "0", String(1 + this.below(this.revision)), String(-this.below(3))][this.below(4)]!,
        filters: [[], [], [0], [1], [0, 1], [7]][this.below(6)]!,
        prev_kv: this.below(2) === 0,
        fragment: this.below(3) === 0,
        watch_id: ids[this.below(ids.length)]!,
      },
    };
  }
}

const write = async (generator: Generator): Promise<void> => {
  const kind = generator.below(4);
  const used = new Set<string>();
  const ops = Array.from({ length: 1 + generator.below(6) }, () => generator.put()).filter(({ key }) => {
    const fresh = !used.has(key as string);
    used.add(key as string);
    return fresh;
  });
  const [method, request] =
    kind === 0
      ? ["KV/DeleteRange", generator.remove()]
      : kind === 1
        ? ["KV/Txn", { success: ops.map((put) => ({ request_put: put })) }]
        : ["KV/Put", generator.put()];
  const { body } = await both(
    (side) => side.call(method as string, request as JsonObject) as Promise<JsonObject>,
    "a write",
  );
  const header = (body as JsonObject | null)?.["header"] as JsonObject | undefined;
  generator.revision = Number(header?.["revision"] ?? generator.revision);
};

const compact = async (generator: Generator): Promise<void> => {
  if (generator.revision <= generator.compacted + 1) return;
  generator.compacted += 1 + generator.below(generator.revision - generator.compacted);
  const request = { revision: String(generator.compacted) };
  await both((side) => side.call("KV/Compact", request) as Promise<JsonObject>, "a compaction");
};

/** One create or cancel; its answer comes on its own, then what it gives rise to. */
const control = async (generator: Generator): Promise<void> => {
  const ids = [...generator.open];
  const cancels = ids.length > 0 && (ids.length > 30 || generator.below(3) === 0);
  const id = ids[generator.below(Math.max(1, ids.length))]!;
  const request = cancels ? { cancel_request: { watch_id: id } } : generator.create();
  for (const side of sides) side.request(0, request);
  const create = (request as JsonObject)["create_request"] as JsonObject | undefined;
  const startRevision = create?.["start_revision"] ?? "0";
  if (cancels) generator.open.delete(id);
  const isAnswer = (response: JsonObject): boolean =>
    cancels ? response["canceled"] === true : response["created"] === true;
  const answered = await both(async (side) => {
    const responses = await side.until(0, isAnswer, null);
    const created = responses.find(isAnswer)!;
    // What the watch is told at once may come with the answer, or later.
    if (cancels || created["canceled"] === true) return { created, later: [] };
    const isOver = (response: JsonObject): boolean =>
      isProgress(response) || response["compact_revision"] !== undefined;
    if (Number(startRevision) > 0) await new Promise((resolve) => void setTimeout(resolve, catchUpMs));
    const later = responses.some(isOver) ? [] : await side.until(0, isOver, progress);
    return { created, later: byWatch([...responses, ...later]) as unknown as JsonObject };
  }, JSON.stringify(request));
  const { created, later } = answered as unknown as { created: JsonObject; later: Record<string, JsonObject[]> };
  if (cancels || created["canceled"] === true) return;
  const watch = (created["watch_id"] ?? "0") as string;
  generator.open.add(watch);
  const isCompacted = later[watch]?.some((response) => response["compact_revision"] !== undefined) === true;
  // It holds up all progress answers until it is canceled.
  if (!isCompacted) return;
  generator.open.delete(watch);
  for (const side of sides) side.request(0, { cancel_request: { watch_id: watch } });
  await both(
    async (side) => byWatch(await side.until(0, (each) => each["canceled"] === true, null)) as unknown as JsonObject,
    "cancel",
  );
};

const seed = chooseSeed();
const steps = Number(process.env["STEPS"] ?? 600);

test(`random watches and changes (SEED=${seed})`, { skip }, async () => {
  const generator = new Generator(seed);
  for (const side of sides) side.open();
  for (const side of sides) side.request(0, { create_request: { key: base64("~"), watch_id: "1000000" } });
  await both(async (side) => byWatch(await side.until(0, isCreated, null)) as unknown as JsonObject, "first");
  for (let step = 0; step < steps; step++) {
    const what = generator.below(40);
    if (what < 26) {
      for (let i = generator.below(4); i >= 0; i--) await write(generator);
      await settle(0, `step ${step}: events`);
    } else if (what === 39) await compact(generator);
    else await control(generator);
  }
  assert.ok(generator.revision > 100);
});

test("2,500 revisions of history come a thousand a response", { skip }, async () => {
  const stream = sides[0]!.streams.length;
  for (const side of sides) side.open();
  const { body } = await both((side) => side.call("KV/Put", { key: base64("h") }) as Promise<JsonObject>, "a put");
  const first = ((body as JsonObject)["header"] as JsonObject)["revision"] as string;
  for (let i = 0; i < 2499; i++) {
    await Promise.all(sides.map((side) => side.call("KV/Put", { key: base64("h"), value: base64(String(i)) })));
  }
  for (const side of sides) side.request(stream, { create_request: { key: base64("h"), start_revision: first } });
  const groups = await settle(stream, "history");
  assert.deepEqual(
    groups["0"]!.map((response) => ((response["events"] ?? []) as readonly Json[]).length),
    [0, 1000, 1000, 500],
  );
});

test("fragments are cut where etcd cuts them", { skip }, async () => {
  const stream = sides[0]!.streams.length;
  for (const side of sides) side.open();
  const create = { key: base64("f"), range_end: base64("g"), fragment: true };
  for (const prev_kv of [false, true]) {
    for (const side of sides) side.request(stream, { create_request: { ...create, prev_kv } });
    // A put made before the watch is there is none of its events.
    await both(async (side) => (await side.until(stream, isCreated, null)) as unknown as Json, "created");
  }
  for (let round = 0; round < 2; round++) {
    for (let i = 0; i < 60; i++) {
      const put = { key: base64(`f${i}`), value: base64("x".repeat(15_000 + 37 * i)) };
      await Promise.all(sides.map((side) => side.call("KV/Put", put)));
    }
  }
  await both(
    (side) => side.call("KV/DeleteRange", { key: base64("f"), range_end: base64("g") }) as Promise<JsonObject>,
    "delete",
  );
  // Both are told of all of it: a progress request would only be dropped while so much is on its way.
  const groups = (await both(async (side) => {
    const over = new Set<Json | undefined>();
    const isOver = (response: JsonObject): boolean => {
      const list = (response["events"] ?? []) as readonly JsonObject[];
      if (response["fragment"] !== true && list.some((event) => event["type"] === 1)) over.add(response["watch_id"]);
      return over.size === 2;
    };
    return byWatch(await side.until(stream, isOver, null)) as unknown as JsonObject;
  }, "fragments")) as unknown as Record<string, JsonObject[]>;
  assert.ok(
    groups["1"]!.some((response) => response["fragment"] === true),
    "nothing was cut",
  );
});

test("progress is notified on its own", { skip }, async () => {
  const stream = sides[0]!.streams.length;
  for (const side of sides) side.open();
  for (const side of sides) side.request(stream, { create_request: { key: base64("q"), progress_notify: true } });
  const isNotice = (response: JsonObject): boolean =>
    response["created"] === undefined && response["events"] === undefined;
  await both(async (side) => (await side.until(stream, isNotice, null)).slice(0, 2) as unknown as Json, "a notice");
});

test("bad messages, half-closed streams and unknown requests", { skip }, async () => {
  const stream = sides[0]!.streams.length;
  for (const side of sides) side.open();
  for (const side of sides) {
    side.request(stream, {});
    side.streams[stream]!.send(Buffer.of(0x2a, 0));
    side.request(stream, { cancel_request: { watch_id: "5" } });
    side.request(stream, { create_request: { key: base64("b"), range_end: base64("a"), start_revision: "-5" } });
    side.request(stream, { create_request: { key: base64("b"), range_end: base64("a") } });
    side.request(stream, { create_request: { key: base64("half") } });
    side.streams[stream]!.halfClose();
  }
  await both(
    async (side) =>
      byWatch(await side.until(stream, (each) => each["watch_id"] === undefined, null)) as unknown as JsonObject,
    "answers",
  );
  await both((side) => side.call("KV/Put", { key: base64("half") }) as Promise<JsonObject>, "a put");
  await both(
    async (side) =>
      byWatch(await side.until(stream, (each) => each["events"] !== undefined, null)) as unknown as JsonObject,
    "an event after the half-close",
  );
  const bad = sides[0]!.streams.length;
  for (const side of sides) side.open();
  await both(async (side) => {
    side.streams[bad]!.send(Buffer.of(0x0a, 9, 1));
    while (side.streams[bad]!.end === null) await side.streams[bad]!.changed(1000);
    const { status, message } = side.streams[bad]!.end!;
    // protobuf-go puts a space of another kind here in some builds.
    return { status, message: message.replaceAll("\u00a0", " ") };
  }, "a message that does not parse");
});
