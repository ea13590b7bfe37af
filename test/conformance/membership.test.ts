/**
 * Changes of membership on a real etcd and on ours, each a cluster of one: random calls, good and bad, over gRPC and the
 * gateway, answered alike; then downgrades; then the loss of the quorum, and what is answered without one.
 * IDs that MemberAdd makes depend on the time, so each side's are named by the order in which they came.
 * SEED=<n> replays a run.
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import {
  base64,
  chooseSeed,
  decodeMessage,
  encodeMessage,
  etcdBinaries,
  GrpcClient,
  HttpClient,
  isJsonList,
  isJsonObject,
  Member,
  optionsAlike,
  ourCommand,
  Prng,
  rpcTypes,
  temporaryFolder,
  waitForStorageVersion,
  type Json,
  type JsonObject,
} from "../support/index.js";

const cache = await etcdBinaries();
const skip = cache.kind === "skipped" ? cache.reason : false;
const seed = chooseSeed();
const timeout = 120_000;

interface Answer {
  readonly status: number;
  readonly text: string;
  readonly message: Json;
}

/** Stands for the ID of slot n in a request; the answer's IDs come back as the same. */
const slotName = (slot: number): string => `member ${slot}`;

class Side {
  readonly member: Member;
  readonly client: GrpcClient;
  readonly http: HttpClient;
  /** IDs by slot: 0 is the member itself, 1 is nobody's. */
  readonly ids: string[];

  constructor(member: Member, ownId: string) {
    this.member = member;
    this.client = new GrpcClient(member.port);
    this.http = new HttpClient(member.port);
    this.ids = [ownId, "4660"];
  }

  static async start(command: readonly string[], dataDir: string, flags: readonly string[]): Promise<Side> {
    const member = await Member.start(await optionsAlike(command, dataDir, flags));
    await waitForStorageVersion(member.port);
    const side = new Side(member, "");
    const { message } = await side.call("Maintenance", "Status", {});
    side.ids[0] = String(((message as JsonObject)["header"] as JsonObject)["member_id"]);
    return side;
  }

  /** An ID that this side has not told of yet gets the next slot. */
  #slotOf(id: string): string {
    if (!this.ids.includes(id)) this.ids.push(id);
    return slotName(this.ids.indexOf(id));
  }

  async call(
    service: string,
    method: string,
    request: JsonObject,
    headers: Record<string, string> = {},
  ): Promise<Answer> {
    const types = rpcTypes(`etcdserverpb.${service}`, method);
    const path = `/etcdserverpb.${service}/${method}`;
    const reply = await this.client.unary(path, encodeMessage(types.request, this.#withIds(request)), headers);
    const first = reply.messages[0];
    const message = first === undefined ? null : decodeMessage(types.response, first);
    if (message !== null) assert.ok(message.canonical, `${method} is not written as Go writes it`);
    return { status: reply.status, text: reply.message, message: message?.plain ?? null };
  }

  async post(path: string, request: JsonObject): Promise<Answer> {
    const body = Buffer.from(JSON.stringify(this.#withIds(request)));
    const http = new HttpClient(this.member.port);
    const reply = await http.send({ method: "POST", path, body });
    http.close();
    return { status: reply.status, text: "", message: JSON.parse(reply.body.toString()) as Json };
  }

  #withIds(request: JsonObject): JsonObject {
    return Object.fromEntries(
      Object.entries(request).map(([name, value]) => {
        const slot = typeof value === "string" ? /^member (\d+)$/.exec(value) : null;
        return [name, slot === null ? value : this.ids[Number(slot[1])]!];
      }),
    );
  }

  /** The answer as both sides should give it: IDs by slot, members sorted by it, no term. */
  comparable({ status, text, message }: Answer): Json {
    return { status, text, message: this.#plain(message, "") };
  }

  #plain(value: Json, name: string): Json {
    if (name === "raft_term") return 0;
    if ((name === "ID" || name === "member_id") && typeof value === "string") return this.#slotOf(value);
    if (isJsonList(value)) {
      const items = value.map((item) => this.#plain(item, ""));
      return name === "members" ? items.sort((a, b) => JSON.stringify(a).localeCompare(JSON.stringify(b))) : items;
    }
    if (!isJsonObject(value)) return value;
    return Object.fromEntries(
      Object.keys(value)
        .sort()
        .map((key) => [key, this.#plain(value[key]!, key)]),
    );
  }

  async stop(): Promise<void> {
    this.client.close();
    this.http.close();
    await this.member.kill();
  }
}

type Sides = readonly [Side, Side];

async function onBoth(flags: readonly string[], run: (sides: Sides) => Promise<void>): Promise<void> {
  if (cache.kind !== "ready") return;
  const folder = await temporaryFolder();
  const starts = [
    Side.start([cache.binaries.etcd], join(folder.path, "etcd"), flags),
    Side.start(ourCommand(), join(folder.path, "ours"), flags),
  ] as const;
  const sides = await Promise.all(starts);
  try {
    await run(sides);
  } finally {
    await Promise.all(sides.map((side) => side.stop()));
    await folder.remove();
  }
}

async function same(sides: Sides, what: string, ask: (side: Side) => Promise<Answer>): Promise<Answer> {
  const [etcd, ours] = await Promise.all(
    sides.map((side) =>
      ask(side).catch((error: unknown) => {
        throw new Error(
          `${what}: no answer of ${side.member.options.command.join(" ")}\n${side.member.log.slice(-15).join("\n")}`,
          { cause: error },
        );
      }),
    ),
  );
  assert.deepEqual(sides[1].comparable(ours!), sides[0].comparable(etcd!), what);
  return etcd!;
}

/** URLs that are refused, some, and some that Go takes. */
const oddUrls = [
  "",
  "127.0.0.1:1",
  "http://127.0.0.1",
  "http://127.0.0.1:1/",
  "http://127.0.0.1:1/path",
  "ftp://127.0.0.1:1",
  "http://127.0.0.1:port",
  "http://a:1:2",
  "//127.0.0.1:1",
  "http:127.0.0.1:1",
  "http://a b:1",
  "http://127.0.0.1:1\n",
  "http://[::1:1",
  "http://a%20b:1",
  "http://::1:2",
  "HTTP://127.0.0.9:1",
  " http://127.0.0.9:2 ",
  "http://:1",
  "http://127.0.0.9:",
  "http://user:word@127.0.0.9:3?query#fragment",
  "http://127.0.0.9:4?",
  "http://127.0.0.9:4#",
  "unix://127.0.0.9:5",
  "unixs:///tmp/socket name",
  "http://[fe80::1%25lo]:6",
];

class Random {
  readonly #prng: Prng;
  #next = 0;
  /** Slots in use so far, on both sides alike. */
  slots = 2;

  constructor(prng: Prng) {
    this.#prng = prng;
  }

  /** Mostly new ones, so that they are taken. */
  urls(): string[] {
    if (this.#prng.below(5) === 0) return Array.from({ length: this.#prng.below(3) }, () => this.#prng.pick(oddUrls));
    return this.goodUrls();
  }

  /** For an update: an etcd that is given anything else ends by a panic. */
  goodUrls(): string[] {
    if (this.#prng.below(8) === 0) return ["http://127.0.0.1:7"];
    const port = 1000 + this.#next++;
    return [`http://127.0.0.2:${port}`, ...(this.#prng.below(3) === 0 ? [`http://127.0.0.1:${port}`] : [])];
  }

  call(): { service: string; method: string; path: string; request: JsonObject } {
    const cluster = (method: string, request: JsonObject) => ({
      service: "Cluster",
      method: `Member${method}`,
      path: `/v3/cluster/member/${method.toLowerCase()}`,
      request,
    });
    const ID = slotName(this.#prng.below(this.slots));
    switch (this.#prng.below(10)) {
      case 0:
      case 1:
      case 2:
        return cluster("Add", { peerURLs: this.urls(), isLearner: true });
      case 3:
      case 4:
        return cluster("Remove", { ID });
      case 5:
        return cluster("Update", { ID, peerURLs: this.goodUrls() });
      case 6:
        return cluster("Promote", { ID });
      case 7:
        return cluster("List", { linearizable: this.#prng.below(2) === 0 });
      case 8:
        return {
          service: "Maintenance",
          method: "MoveLeader",
          path: "/v3/maintenance/transfer-leadership",
          request: { targetID: ID },
        };
      default: {
        const key = base64(`k${this.#prng.below(5)}`);
        return { service: "KV", method: "Put", path: "/v3/kv/put", request: { key, value: key } };
      }
    }
  }
}

for (const flags of [[], ["--max-learners=3", "--initial-election-tick-advance=false"]]) {
  test(`${flags.join(" ") || "defaults"}: 300 random calls are answered alike (SEED=${seed})`, { skip, timeout }, () =>
    onBoth(flags, async (sides) => {
      const random = new Random(new Prng(seed + flags.length));
      const prng = new Prng(seed + 100);
      for (let i = 0; i < 300; i++) {
        const { service, method, path, request } = random.call();
        const what = `call ${i}: ${method} ${JSON.stringify(request)}`;
        const isHttp = prng.below(3) === 0;
        await same(sides, what, (side) => (isHttp ? side.post(path, request) : side.call(service, method, request)));
        random.slots = sides[0].ids.length;
      }
      await same(sides, "members", (side) => side.call("Cluster", "MemberList", { linearizable: true }));
      await same(sides, "hash", (side) => side.call("Maintenance", "HashKV", {}));
    }),
  );
}

test("each odd URL is taken or refused alike, and written alike", { skip, timeout }, () =>
  onBoth(["--max-learners=100"], async (sides) => {
    for (const url of oddUrls) {
      const request = { peerURLs: [url], isLearner: true };
      await same(sides, JSON.stringify(url), (side) => side.call("Cluster", "MemberAdd", request));
    }
  }),
);

test("without strict checks, learners are removed and voters' changes judged when applied", { skip, timeout }, () =>
  onBoth(["--strict-reconfig-check=false"], async (sides) => {
    await same(sides, "add", (side) =>
      side.call("Cluster", "MemberAdd", { peerURLs: ["http://127.0.0.2:1"], isLearner: true }),
    );
    for (const ID of [slotName(2), slotName(2), slotName(1)])
      await same(sides, `promote ${ID}`, (side) => side.call("Cluster", "MemberPromote", { ID }));
    for (const ID of [slotName(2), slotName(2), slotName(1)])
      await same(sides, `remove ${ID}`, (side) => side.call("Cluster", "MemberRemove", { ID }));
  }),
);

test("downgrades are judged, begun and taken back alike", { skip, timeout }, () =>
  onBoth([], async (sides) => {
    const ask = (action: number, version: string): Promise<Answer> =>
      same(sides, `${action} ${version}`, (side) => side.call("Maintenance", "Downgrade", { action, version }));
    for (const version of [
      "",
      "3",
      "3.6.x",
      "3.7",
      "3.8.0",
      "3.5",
      "4.6.0",
      "v3.6",
      "3.6",
      "3.6.9",
      "3.6.0-rc.1",
      "3.6-rc.1",
    ])
      await ask(0, version);
    await ask(7, "3.6");
    await ask(2, "");
    await ask(1, "3.5");
    await ask(1, "3.6.2");
    await ask(1, "3.6");
    await ask(0, "3.6");
    const info = (side: Side): Promise<Json> =>
      side.call("Maintenance", "Status", {}).then(({ message }) => {
        const { downgradeInfo, storageVersion } = message as JsonObject;
        return { downgradeInfo: downgradeInfo!, storageVersion: storageVersion! };
      });
    for (const [target, expected] of [
      ["3.6.0", { enabled: true, targetVersion: "3.6.0" }],
      ["3.7.0", {}],
    ] as const) {
      for (const side of sides) {
        const until = Date.now() + 15_000;
        let seen = await info(side);
        while ((seen as JsonObject)["storageVersion"] !== target && Date.now() < until) {
          await delay(100);
          seen = await info(side);
        }
        assert.deepEqual(seen, { downgradeInfo: expected, storageVersion: target }, side.member.options.dataDir);
      }
      if (target === "3.6.0") await ask(2, "");
    }
  }),
);

test("a voter that never comes takes the quorum away: what is answered then", { skip, timeout }, () =>
  onBoth([], async (sides) => {
    const put = { key: base64("k"), value: base64("v") };
    await same(sides, "put before", (side) => side.call("KV", "Put", put));
    await same(sides, "lease", (side) => side.call("Lease", "LeaseGrant", { ID: "77", TTL: "600" }));
    await same(sides, "add", (side) => side.call("Cluster", "MemberAdd", { peerURLs: ["http://127.0.0.2:1"] }));
    for (const side of sides) {
      for (let i = 0; i < 100; i++) {
        const { message } = await side.call("Maintenance", "Status", {});
        if (((message as JsonObject)["errors"] as Json[] | undefined)?.includes("etcdserver: no leader") === true)
          break;
        await delay(100);
      }
    }
    const noLeader = { hasleader: "true" };
    const asked: readonly [string, (side: Side) => Promise<Answer>][] = [
      ["put", (side) => side.call("KV", "Put", put)],
      ["get", (side) => side.call("KV", "Range", { key: put.key })],
      ["serializable get", (side) => side.call("KV", "Range", { key: put.key, serializable: true })],
      ["put that wants a leader", (side) => side.call("KV", "Put", put, noLeader)],
      ["grant", (side) => side.call("Lease", "LeaseGrant", { ID: "78", TTL: "600" })],
      ["revoke", (side) => side.call("Lease", "LeaseRevoke", { ID: "77" })],
      ["time to live", (side) => side.call("Lease", "LeaseTimeToLive", { ID: "77" })],
      ["keepalive", (side) => side.call("Lease", "LeaseKeepAlive", { ID: "77" })],
      ["keepalive that wants a leader", (side) => side.call("Lease", "LeaseKeepAlive", { ID: "77" }, noLeader)],
      ["watch that wants a leader", (side) => side.call("Watch", "Watch", {}, noLeader)],
      ["leases", (side) => side.call("Lease", "LeaseLeases", {})],
      ["members", (side) => side.call("Cluster", "MemberList", {})],
      ["members, linearizable", (side) => side.call("Cluster", "MemberList", { linearizable: true })],
      ["add", (side) => side.call("Cluster", "MemberAdd", { peerURLs: ["http://127.0.0.2:2"] })],
      [
        "add a learner",
        (side) => side.call("Cluster", "MemberAdd", { peerURLs: ["http://127.0.0.2:2"], isLearner: true }),
      ],
      ["remove itself", (side) => side.call("Cluster", "MemberRemove", { ID: slotName(0) })],
      ["promote", (side) => side.call("Cluster", "MemberPromote", { ID: slotName(2) })],
      ["move", (side) => side.call("Maintenance", "MoveLeader", { targetID: slotName(2) })],
      ["validate", (side) => side.call("Maintenance", "Downgrade", { action: 0, version: "3.6" })],
      ["enable", (side) => side.call("Maintenance", "Downgrade", { action: 1, version: "3.6" })],
      ["compact", (side) => side.call("KV", "Compact", { revision: "2" })],
      ["alarms", (side) => side.call("Maintenance", "Alarm", {})],
      ["gateway put", (side) => side.post("/v3/kv/put", put)],
      ["gateway get", (side) => side.post("/v3/kv/range", { key: put.key })],
    ];
    await Promise.all(asked.map(([what, ask]) => same(sides, what, ask)));
    for (const path of ["/health", "/health?serializable=true"]) {
      const [etcd, ours] = await Promise.all(sides.map((side) => side.http.send({ method: "GET", path })));
      assert.deepEqual([ours!.status, ours!.body.toString()], [etcd!.status, etcd!.body.toString()], path);
    }
  }),
);
