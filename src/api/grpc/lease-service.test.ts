/** Keepalive streams at a member that does not lead: each request goes to the leader, in order, one at a time. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { ErrNoLeader, type EtcdError } from "../../errors/index.js";
import { encodeLeaseKeepAliveRequest } from "../../proto/index.js";
import type { EtcdServer } from "../../server/index.js";
import { LeaseService } from "./lease-service.js";

type Answer = { ttl: number } | { error: EtcdError } | "here";

class Rig {
  isLeader = false;
  /** What happens, in order. */
  readonly events: string[] = [];
  readonly asked: { id: number; done: (answer: Answer) => void }[] = [];
  givenUp = 0;
  readonly leases = {
    onEnded: undefined as (() => void) | undefined,
    renewAtLeader: (low: number, _high: number, done: (answer: Answer) => void) => {
      this.asked.push({ id: low, done });
      return () => void this.givenUp++;
    },
    renewed: (_callId: number, low: number, _high: number, ttl: number) => this.events.push(`${low} for ${ttl}`),
    keepAlive: (_callId: number, low: number) => {
      this.events.push(`${low} here`);
      return true;
    },
    endStream: (_callId: number, code: number) => this.events.push(`end ${code}`),
    flush: () => {},
  };
  readonly service: LeaseService;

  constructor() {
    const replies = { error: (_callId: number, error: EtcdError) => this.events.push(error.message) };
    const rig = { leases: this.leases };
    const core = Object.defineProperty(rig, "isLeader", { get: () => this.isLeader });
    // Only what the service uses of a server.
    this.service = new LeaseService({ core, replies } as unknown as EtcdServer);
    this.service.open(1);
  }

  ask(id: bigint): void {
    const message = encodeLeaseKeepAliveRequest({ ID: id });
    this.service.message(1, message, 0, message.length);
  }
}

test("requests are passed on one after another, and the stream ends after the last answer", () => {
  const rig = new Rig();
  rig.ask(5n);
  rig.ask(6n);
  rig.service.halfClosed(1);
  assert.deepEqual(
    rig.asked.map(({ id }) => id),
    [5],
  );
  rig.asked[0]!.done({ ttl: 20 });
  rig.asked[1]!.done({ ttl: 0 });
  assert.deepEqual(rig.events, ["5 for 20", "6 for 0", "end 0"]);
});

test("who becomes the leader meanwhile renews what waits itself", () => {
  const rig = new Rig();
  rig.ask(5n);
  rig.ask(6n);
  rig.isLeader = true;
  rig.leases.onEnded?.();
  assert.deepEqual(rig.events, [], "the first is still with the leader of before");
  rig.asked[0]!.done("here");
  assert.deepEqual(rig.events, ["5 here", "6 here"]);
});

test("without an answer in time the stream ends with etcd's error, and a client that goes is not asked for any more", () => {
  const rig = new Rig();
  rig.ask(5n);
  rig.ask(6n);
  rig.asked[0]!.done({ error: new ErrNoLeader() });
  assert.deepEqual(rig.events, ["etcdserver: no leader"]);
  assert.equal(rig.asked.length, 1);
  rig.service.open(1);
  rig.ask(7n);
  rig.service.cancel(1);
  assert.equal(rig.givenUp, 1);
});
