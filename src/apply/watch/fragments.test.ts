/** Where responses are cut into fragments. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { encodeWatchResponse, type WatchResponse } from "../../proto/index.js";
import { usualLongLimits } from "./long-response.js";
import { eventsOf, WatchRig } from "./rig.test-support.js";

test("fragments: cut between events below the bound, all but the last marked", async () => {
  const rig = await WatchRig.open({ fragmentBytesMax: 1000 });
  const client = rig.open(1);
  rig.create(1, { key: "a", end: "b", fragment: true });
  rig.create(1, { key: "a", end: "b" });
  rig.txn(() => {
    for (let i = 0; i < 8; i++) rig.putOne(`a${i}`, "x".repeat(i === 4 ? 1500 : 300));
  });
  rig.settle();
  const parts = client.responses.filter((each) => each.watchId === 0n && !each.created);
  assert.deepEqual(
    parts.map((each) => [each.events.length, each.fragment]),
    [
      [3, true],
      [1, true],
      [1, true],
      [3, false],
    ],
  );
  assert.equal(eventsOf(client.take().filter((each) => each.watchId === 1n)).length, 8);
});

/** The events of each part as etcd cuts them: it takes events until the next one would reach the bound. */
function etcdsParts(whole: WatchResponse, bound: number): [events: number, fragment: boolean][] {
  const { header, watchId, events } = whole;
  const sizeOf = (from: number, to: number, fragment: boolean): number =>
    encodeWatchResponse({ header: header!, watchId, fragment, events: events.slice(from, to) }).length;
  if (events.length < 2 || sizeOf(0, events.length, false) < bound) return [[events.length, false]];
  const parts: [number, boolean][] = [];
  for (let from = 0, to = 0; to < events.length; from = to) {
    while (to < events.length && (to === from || sizeOf(from, to + 1, true) < bound)) to++;
    parts.push([to - from, to < events.length]);
  }
  return parts;
}

const always = { ...usualLongLimits, shortEvents: 0, shortBytes: 0, shortPrevious: 0 };
for (const [how, longLimits] of [
  ["at once", usualLongLimits],
  ["in slices", { ...always, counted: 2, previous: 2, written: 2, bytes: 60 }],
] as const) {
  test(`fragments: at every bound they are etcd's, made ${how}`, async () => {
    const lengths = [3, 0, 40, 1, 200, 7, 7];
    let whole: WatchResponse | null = null;
    const cuts = new Set<number>();
    for (let bound = 400; bound > 0; bound--) {
      const rig = await WatchRig.open({ fragmentBytesMax: bound, longLimits });
      const client = rig.open(1);
      const watch = { key: "a", end: "b", startRevision: 2 };
      const change = (): void =>
        void rig.txn(() => lengths.forEach((length, i) => rig.putOne(`a${i}`, "x".repeat(length))));
      // Slices are for what is read up.
      if (how === "in slices") change();
      rig.create(1, watch);
      rig.create(1, { ...watch, fragment: true });
      if (how === "at once") change();
      rig.settle();
      const responses = client.take().slice(2);
      whole ??= { ...responses.find(({ watchId }) => watchId === 0n)!, watchId: 1n };
      const parts = responses.filter(({ watchId }) => watchId === 1n);
      const told = parts.map(({ events, fragment }) => [events.length, fragment]);
      assert.deepEqual(told, etcdsParts(whole, bound), `bound ${bound}`);
      cuts.add(parts.length);
    }
    assert.ok(cuts.has(1) && cuts.has(lengths.length) && cuts.size > 4, [...cuts].join());
  });
}
