/**
 * Locks and elections beside etcd's: the same courses on both members, over gRPC and over HTTP/JSON, one step after the
 * other, and the answers compared with their revisions. Then what calls that wait cost a member of ours.
 */
import assert from "node:assert/strict";
import { once } from "node:events";
import http2 from "node:http2";
import { after, before, test } from "node:test";
import {
  base64,
  decodeMessage,
  encodeMessage,
  etcdBinaries,
  frame,
  GrpcClient,
  GrpcStream,
  HttpClient,
  type JsonObject,
  LineStream,
  metricBecomes,
  ourCommand,
  readMetric,
  rpcTypes,
} from "../support/index.js";
import { startPair, type PairMember } from "./pair.js";

const cache = await etcdBinaries();
const skip = cache.kind === "ready" ? false : cache.reason;
const waitMsMax = 20_000;

let pair: Awaited<ReturnType<typeof startPair>>;

before(async () => {
  if (cache.kind === "ready") pair = await startPair(cache.binaries.etcd, ourCommand());
});

after(async () => {
  if (cache.kind === "ready") await pair.stop();
});

/** What may differ between two members: who they are, how often they have voted, and spaces that come with a build. */
const level = (text: string): string =>
  text
    .replace(/"(cluster_?id|member_?id|raft_?term)": ?"\d+"/gi, '"$1":"n"')
    .replaceAll("\u00a0", " ")
    .replaceAll(', "', ',"');

/** A call that has been made. */
interface Made {
  /** The message, or the error, as text. */
  readonly answer: Promise<string>;
  cancel(): void;
}

/** A stream of answers. */
interface Answers {
  next(): Promise<string>;
  close(): void;
}

/** One way to talk to a member. */
interface Wire {
  readonly name: string;
  call(port: number, service: string, method: string, body: JsonObject, deadline?: string): Made;
  observe(port: number, body: JsonObject): Answers;
}

const textOf = (type: string, message: Uint8Array): string => level(JSON.stringify(decodeMessage(type, message).plain));

const next = async (stream: GrpcStream, type: string): Promise<string> => {
  const [message] = stream.take();
  if (message !== undefined) return textOf(type, message);
  if (stream.end !== null) return `${stream.end.status} ${stream.end.message}`;
  await stream.changed(waitMsMax);
  if (stream.end === null) {
    const [arrived] = stream.take();
    return arrived === undefined ? "nothing" : textOf(type, arrived);
  }
  return next(stream, type);
};

const open = (port: number, path: [string, string], body: JsonObject, headers: Record<string, string>): GrpcStream => {
  const stream = new GrpcStream(port, `/${path.join("/")}`, headers);
  stream.send(encodeMessage(rpcTypes(...path).request, body));
  stream.halfClose();
  return stream;
};

const grpc: Wire = {
  name: "grpc",
  call: (port, service, method, body, deadline) => {
    const stream = open(port, [service, method], body, deadline === undefined ? {} : { "grpc-timeout": deadline });
    const answer = next(stream, rpcTypes(service, method).response).finally(() => stream.close());
    return { answer, cancel: () => stream.close() };
  },
  observe: (port, body) => {
    const path: [string, string] = ["v3electionpb.Election", "Observe"];
    const stream = open(port, path, body, {});
    return { next: () => next(stream, rpcTypes(...path).response), close: () => stream.close() };
  },
};

const folders: Readonly<Record<string, string>> = {
  "v3lockpb.Lock": "lock",
  "v3electionpb.Election": "election",
  "etcdserverpb.KV": "kv",
};
const names: Readonly<Record<string, string>> = { LeaseGrant: "lease/grant", LeaseRevoke: "lease/revoke" };

const gateway: Wire = {
  name: "gateway",
  call: (port, service, method, body, deadline) => {
    const client = new HttpClient(port);
    const path = `/v3/${names[method] ?? `${folders[service]}/${method.toLowerCase()}`}`;
    const headers = deadline === undefined ? {} : { "Grpc-Timeout": deadline };
    const answer = client
      .send({ method: "POST", path, headers, body: Buffer.from(JSON.stringify(body)) })
      .then((reply) => `${reply.status} ${level(reply.body.toString())}`)
      .catch(() => "gone")
      .finally(() => client.close());
    return { answer, cancel: () => client.close() };
  },
  observe: (port, body) => {
    const stream = new LineStream({ port, path: "/v3/election/observe", body: JSON.stringify(body) });
    return { next: async () => level((await stream.line()) ?? "the end"), close: () => stream.close() };
  },
};

/** One course on one member: what it does is told as it goes. */
class Course {
  readonly told: string[] = [];
  readonly #wire: Wire;
  readonly #port: number;

  constructor(wire: Wire, { member }: PairMember) {
    this.#wire = wire;
    this.#port = member.port;
  }

  start(service: string, method: string, body: JsonObject, deadline?: string): Made {
    return this.#wire.call(this.#port, service, method, body, deadline);
  }

  lock(name: string, lease: number, deadline?: string): Made {
    return this.start("v3lockpb.Lock", "Lock", { name: base64(name), lease }, deadline);
  }

  campaign(name: string, lease: number, value: string): Made {
    return this.start("v3electionpb.Election", "Campaign", { name: base64(name), lease, value: base64(value) });
  }

  observe(name: string): Answers {
    return this.#wire.observe(this.#port, { name: base64(name) });
  }

  async tell(what: string, made: Made): Promise<void> {
    this.told.push(`${what}: ${await made.answer}`);
  }

  async election(what: string, method: string, body: JsonObject): Promise<void> {
    await this.tell(what, this.start("v3electionpb.Election", method, body));
  }

  async unlock(key: string): Promise<void> {
    await this.tell(`unlock ${key}`, this.start("v3lockpb.Lock", "Unlock", { key: base64(key) }));
  }

  async grant(id: number, ttl = 600): Promise<void> {
    await this.start("etcdserverpb.Lease", "LeaseGrant", { ID: id, TTL: ttl }).answer;
  }

  async revoke(id: number): Promise<void> {
    await this.start("etcdserverpb.Lease", "LeaseRevoke", { ID: id }).answer;
  }

  /** Until the lock or election has so many contenders. */
  async contenders(name: string, count: number): Promise<void> {
    const until = Date.now() + waitMsMax;
    const type = "etcdserverpb.RangeResponse";
    for (;;) {
      const range = {
        key: base64(`${name}/`),
        range_end: base64(`${name}0`),
        rangeEnd: base64(`${name}0`),
        count_only: true,
      };
      const stream = open(this.#port, ["etcdserverpb.KV", "Range"], range, {});
      const text = await next(stream, type);
      stream.close();
      if (Number((JSON.parse(text) as { count?: string }).count ?? 0) === count) return;
      assert.ok(Date.now() < until, `${name} never had ${count} contenders`);
    }
  }
}

type Steps = (course: Course, name: string, lease: number) => Promise<void>;

/** The steps, with a name and leases of their own: `lease` and those that follow. */
const courses: Readonly<Record<string, Steps>> = {
  "a lock passes from one to the next": async (course, name, lease) => {
    await course.grant(lease);
    await course.grant(lease + 1);
    await course.tell("first", course.lock(name, lease));
    await course.tell("the same again", course.lock(name, lease));
    const second = course.lock(name, lease + 1);
    await course.contenders(name, 2);
    await course.unlock(`${name}/${lease.toString(16)}`);
    await course.tell("second", second);
    await course.unlock(`${name}/${(lease + 1).toString(16)}`);
    await course.unlock(`${name}/none`);
  },
  "three in a row": async (course, name, lease) => {
    const waiting: Made[] = [];
    for (let i = 0; i < 3; i++) {
      await course.grant(lease + i);
      waiting.push(course.lock(name, lease + i));
      await course.contenders(name, i + 1);
    }
    // The second goes, so the third waits for the first.
    await course.revoke(lease + 1);
    await course.contenders(name, 2);
    await course.tell("first", waiting[0]!);
    await course.unlock(`${name}/${lease.toString(16)}`);
    await course.tell("third", waiting[2]!);
    // The second finds that its lease is over only when nobody older is left.
    await course.tell("second", waiting[1]!);
  },
  "a lease that expires hands the lock on": async (course, name, lease) => {
    await course.grant(lease, 2);
    await course.grant(lease + 1);
    await course.tell("first", course.lock(name, lease));
    await course.tell("second", course.lock(name, lease + 1));
  },
  "who cancels leaves no key": async (course, name, lease) => {
    for (let i = 0; i < 3; i++) await course.grant(lease + i);
    await course.tell("first", course.lock(name, lease));
    const second = course.lock(name, lease + 1);
    await course.contenders(name, 2);
    second.cancel();
    await course.contenders(name, 1);
    const third = course.lock(name, lease + 2);
    await course.contenders(name, 2);
    await course.unlock(`${name}/${lease.toString(16)}`);
    await course.tell("third", third);
  },
  "a deadline leaves no key": async (course, name, lease) => {
    await course.grant(lease);
    await course.grant(lease + 1);
    await course.tell("first", course.lock(name, lease));
    // Both sides watch the time, and who is first words the answer.
    await course.lock(name, lease + 1, "300m").answer;
    await course.contenders(name, 1);
  },
  "requests that are refused": async (course, name, lease) => {
    await course.tell("unknown lease", course.lock(name, lease + 9));
    await course.tell("negative lease", course.lock(name, -5));
    await course.unlock("");
    await course.tell("unknown lease", course.campaign(name, lease + 9, "v"));
    await course.election("nobody leads", "Leader", { name: base64(name) });
    await course.election("no leader field", "Proclaim", {});
    await course.election("no leader field", "Resign", {});
    await course.election("an empty one", "Proclaim", { leader: { lease: 1 } });
    await course.election("an empty one", "Resign", { leader: { lease: 1 } });
    await course.tell("too large a name", course.lock("x".repeat(1 << 20), lease));
    await course.election("nobody leads under a long name", "Leader", { name: base64("x".repeat(2_000_000)) });
  },
  "no name is a name": async (course, _name, lease) => {
    await course.grant(lease);
    await course.tell("lock", course.lock("", lease));
    await course.election("leader", "Leader", {});
    await course.unlock(`/${lease.toString(16)}`);
  },
  "a lease is granted to who brings none": async (course, name) => {
    const answer = await course.lock(name, 0).answer;
    course.told.push(answer.replace(/"key": ?"[^"]+"/, '"key":"granted"'));
    await course.contenders(name, 1);
  },
  "a leader is elected, proclaims and resigns": async (course, name, lease) => {
    await course.grant(lease);
    await course.grant(lease + 1);
    const seen = course.observe(name);
    const first = await course.campaign(name, lease, "one").answer;
    course.told.push(first);
    course.told.push(`seen ${await seen.next()}`);
    await course.tell("the same value again", course.campaign(name, lease, "one"));
    await course.tell("another value", course.campaign(name, lease, "two"));
    course.told.push(`seen ${await seen.next()}`);
    const second = course.campaign(name, lease + 1, "three");
    await course.contenders(name, 2);
    await course.election("leader", "Leader", { name: base64(name) });
    const rev = Number(/"rev": ?"(\d+)"/.exec(first)![1]);
    const leader = { name: base64(name), key: base64(`${name}/${lease.toString(16)}`), rev, lease };
    await course.election("proclaims", "Proclaim", { leader, value: base64("four") });
    course.told.push(`seen ${await seen.next()}`);
    await course.election("is no leader", "Proclaim", { leader: { ...leader, rev: rev + 1 }, value: base64("five") });
    await course.election("resigns for another", "Resign", { leader: { ...leader, rev: rev + 1 } });
    await course.election("resigns", "Resign", { leader });
    await course.tell("second", second);
    course.told.push(`seen ${await seen.next()}`);
    await course.election("resigns again", "Resign", { leader });
    await course.election("leader", "Leader", { name: base64(name) });
    await course.revoke(lease + 1);
    await course.election("leader", "Leader", { name: base64(name) });
    seen.close();
  },
  "a candidate who cancels is not elected": async (course, name, lease) => {
    await course.grant(lease);
    await course.grant(lease + 1);
    await course.tell("first", course.campaign(name, lease, "one"));
    const second = course.campaign(name, lease + 1, "two");
    await course.contenders(name, 2);
    second.cancel();
    await course.contenders(name, 1);
    await course.revoke(lease);
    await course.election("leader", "Leader", { name: base64(name) });
  },
};

for (const wire of [grpc, gateway]) {
  for (const [index, [title, steps]] of Object.entries(courses).entries()) {
    test(`${wire.name}: ${title}, as in etcd`, { skip }, async () => {
      const name = `${wire.name}-${index}`;
      const lease = 1000 * (index + 1) + (wire === grpc ? 0 : 100);
      const told = await Promise.all(
        [pair.etcd, pair.ours].map(async (member) => {
          const course = new Course(wire, member);
          await steps(course, name, lease);
          return course.told;
        }),
      );
      assert.ok(told[0]!.length > 0);
      assert.deepEqual(told[1], told[0]);
    });
  }
}

test("messages that do not parse are refused in etcd's words", { skip }, async () => {
  const bodies = [Buffer.from([0x0a, 0x05]), Buffer.from([0x07])];
  for (const path of ["/v3lockpb.Lock/Lock", "/v3electionpb.Election/Campaign", "/v3electionpb.Election/Observe"]) {
    for (const body of bodies) {
      const texts = [];
      for (const { member } of [pair.etcd, pair.ours]) {
        const client = new GrpcClient(member.port);
        const { status, message } = await client.unary(path, body);
        client.close();
        texts.push(`${status} ${level(message)}`);
      }
      assert.equal(texts[1], texts[0], path);
    }
  }
});

test("many who wait on one connection hold up nobody, and leave nothing when they go", { skip }, async () => {
  const { member } = pair.ours;
  const course = new Course(grpc, pair.ours);
  const name = "many";
  const waiters = 3000;
  await course.grant(90_000);
  await course.grant(90_001);
  await course.lock(name, 90_000).answer;
  const session = http2.connect(`http://127.0.0.1:${member.port}`);
  session.on("error", () => {});
  const call = (path: string, message: Uint8Array): http2.ClientHttp2Stream => {
    const headers = { ":method": "POST", ":path": path, "content-type": "application/grpc", te: "trailers" };
    const stream = session.request(headers);
    stream.on("error", () => {});
    stream.end(frame(message));
    return stream;
  };
  const request = encodeMessage("v3lockpb.LockRequest", { name: base64(name), lease: 90_001 });
  for (let i = 0; i < waiters; i++) call("/v3lockpb.Lock/Lock", request);
  await metricBecomes(member.port, "etcd_debugging_mvcc_watcher_total", waiters);
  const range = call("/etcdserverpb.KV/Range", encodeMessage("etcdserverpb.RangeRequest", { key: base64("a") }));
  await once(range, "data");
  session.destroy();
  await metricBecomes(member.port, "etcd_debugging_mvcc_watcher_total", 0);
  await course.contenders(name, 1);
  // What a lock does is not counted as its client's own doing, as in etcd.
  const txns = 'grpc_server_started_total{grpc_method="Txn",grpc_service="etcdserverpb.KV",grpc_type="unary"}';
  assert.equal(await readMetric(member.port, txns), 0);
});

test("an observer that does not read misses nothing", { skip }, async () => {
  const { member } = pair.ours;
  const course = new Course(grpc, pair.ours);
  const name = "slow";
  const proclaims = 200;
  await course.grant(91_000);
  const first = await course.campaign(name, 91_000, "0").answer;
  const rev = Number(/"rev":"(\d+)"/.exec(first)![1]);
  const stream = new LineStream({
    port: member.port,
    path: "/v3/election/observe",
    body: JSON.stringify({ name: base64(name) }),
  });
  await stream.line();
  await stream.pause(true);
  const leader = { name: base64(name), key: base64(`${name}/${(91_000).toString(16)}`), rev, lease: 91_000 };
  const padding = "x".repeat(64 << 10);
  for (let i = 1; i <= proclaims; i++) {
    const value = base64(`${i} ${padding}`);
    await course.start("v3electionpb.Election", "Proclaim", { leader, value }).answer;
  }
  await stream.pause(false);
  for (let i = 1; i <= proclaims; i++) {
    const { result } = JSON.parse((await stream.line())!) as { result: { kv: { value: string } } };
    assert.equal(Buffer.from(result.kv.value, "base64").toString().split(" ")[0], String(i));
  }
  stream.close();
  await metricBecomes(member.port, "etcd_debugging_mvcc_watcher_total", 0);
});

test("a member stops while calls wait", { skip }, async () => {
  const course = new Course(grpc, pair.ours);
  await course.grant(92_000);
  await course.grant(92_001);
  await course.lock("stop", 92_000).answer;
  const waits = course.lock("stop", 92_001);
  await course.contenders("stop", 2);
  const seen = course.observe("nobody");
  const { code, signal } = await pair.ours.member.stop();
  assert.ok(code === 0 || signal === "SIGTERM", `ended with ${code} ${signal}`);
  await waits.answer;
  seen.close();
});
