/** grpc.health.v1 while the database is defragmented, with the gate StopGRPCServiceOnDefrag and without. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { silentLogger } from "../../base/index.js";
import { decodeHealthCheckResponse, encodeHealthCheckRequest } from "../../proto/index.js";
import { Defragmentations, type Replies } from "../../server/index.js";
import { HealthService } from "./health.js";

const [serving, notServing, unknown] = [1, 2, 3];

class Rig {
  /** Streams whose client takes what it is told at once; the others are behind until `writable`. */
  readonly quick = new Set<number>();
  /** Of each call: the statuses that it was told. */
  readonly told = new Map<number, number[]>();
  readonly service: HealthService;
  readonly #defragmentations: Defragmentations;

  constructor(stopsOnDefragment: boolean) {
    const tell = (callId: number, message: Uint8Array): void => {
      const list = this.told.get(callId) ?? [];
      list.push(decodeHealthCheckResponse(message).status);
      this.told.set(callId, list);
    };
    const message = (callId: number, bytes: Uint8Array, askWritable = false): void => {
      tell(callId, bytes);
      if (askWritable && this.quick.has(callId)) queueMicrotask(() => this.service.writable(callId));
    };
    // Only what the service uses of the replies.
    const replies = { answer: tell, message, flush: () => {} } as unknown as Replies;
    this.#defragmentations = new Defragmentations(replies);
    this.service = new HealthService(
      { replies, defragmentations: this.#defragmentations },
      { stopsOnDefragment, logger: silentLogger },
    );
  }

  defragmenting(isActive: boolean): void {
    this.#defragmentations.onChanged(isActive);
  }
  ask(method: "check" | "watch", callId: number, service = ""): void {
    const message = encodeHealthCheckRequest({ service });
    this.service[method](callId, message, 0, message.length);
  }
}

/** Whatever is to be done in turns is done. */
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

test("with the gate nothing is served while the database is defragmented, and streams hear of it", async () => {
  const rig = new Rig(true);
  for (let callId = 1; callId < 10; callId++) rig.quick.add(callId);
  rig.ask("watch", 1);
  rig.ask("watch", 2, "none");
  rig.ask("watch", 3);
  await turn();
  rig.service.cancel(3);
  rig.defragmenting(true);
  rig.ask("check", 4);
  rig.ask("watch", 5);
  await turn();
  rig.defragmenting(false);
  rig.ask("check", 6);
  await turn();
  assert.deepEqual(Object.fromEntries(rig.told), {
    1: [serving, notServing, serving],
    2: [unknown],
    3: [serving],
    4: [notServing],
    5: [notServing, serving],
    6: [serving],
  });
});

test("a stream whose client takes nothing owes it one message, and then what holds", () => {
  const rig = new Rig(true);
  rig.ask("watch", 1);
  for (let n = 0; n < 100; n++) rig.defragmenting(n % 2 === 0);
  assert.deepEqual(rig.told.get(1), [serving]);
  rig.service.writable(1);
  assert.deepEqual(rig.told.get(1), [serving], "nothing has changed for it");
  rig.defragmenting(true);
  rig.defragmenting(false);
  assert.deepEqual(rig.told.get(1), [serving, notServing]);
  rig.service.writable(1);
  assert.deepEqual(rig.told.get(1), [serving, notServing, serving]);
  rig.service.writable(2);
});

test("many streams hear of it in turns, and of the last change when it has changed again meanwhile", async () => {
  const rig = new Rig(true);
  const streams = 2500;
  for (let callId = 1; callId <= streams; callId++) {
    rig.ask("watch", callId);
    rig.service.writable(callId);
  }
  const heard = (...statuses: number[]): number =>
    [...rig.told.values()].filter((told) => told.join() === statuses.join()).length;
  rig.defragmenting(true);
  assert.deepEqual([heard(serving, notServing), heard(serving)], [1000, 1500]);
  await turn();
  assert.deepEqual([heard(serving, notServing), heard(serving)], [2000, 500]);
  rig.service.cancel(2400);
  rig.defragmenting(false);
  for (let turns = 0; turns < 5; turns++) await turn();
  for (let callId = 1; callId <= 2000; callId++) rig.service.writable(callId);
  assert.deepEqual([heard(serving, notServing, serving), heard(serving)], [2000, 500]);
});

test("without it a defragmentation changes nothing", async () => {
  const rig = new Rig(false);
  rig.quick.add(1);
  rig.ask("watch", 1);
  await turn();
  rig.defragmenting(true);
  rig.ask("check", 2);
  rig.defragmenting(false);
  await turn();
  assert.deepEqual(Object.fromEntries(rig.told), { 1: [serving], 2: [serving] });
});
