import assert from "node:assert/strict";
import { setImmediate as nextTurn } from "node:timers/promises";
import { test } from "node:test";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { Touches } from "./touches.js";
import { none, type Watcher, type WatcherTable } from "./watcher-table.js";

/** Touches of a table of which nothing else is used. */
function open(): { touches: Touches; touchOf: (watcher: Watcher) => number } {
  const numbers = new Map<Watcher, number>();
  const touchOf = (watcher: Watcher): number => numbers.get(watcher) ?? none;
  const table: Pick<WatcherTable, "touch" | "setTouch"> = {
    touch: touchOf,
    setTouch: (watcher, touch) => void numbers.set(watcher, touch),
  };
  return { touches: new Touches(table as WatcherTable), touchOf };
}

test("what is known of a touch is what was told, however many there are", () => {
  const { touches, touchOf } = open();
  for (const count of [5, 70_000, 3000]) {
    for (let watcher = 0; watcher < count; watcher++) {
      const touch = touches.of(watcher);
      assert.equal(touches.of(watcher), touch);
      assert.equal(touches.firstDelivery(touch), none);
      assert.equal(touches.touchedAt(touch, 2 ** 40), 1);
      touches.delivered(touch, watcher, 2 ** 40, 10);
      touches.delivered(touch, watcher + 7, 2 ** 40 + 1, 2 ** 33);
      assert.equal(touches.touchedAt(touch, 2 ** 40), 1);
      assert.equal(touches.touchedAt(touch, 2 ** 40 + 1), 2);
      if (watcher % 3 === 0) touches.setFull(touch);
    }
    assert.equal(touches.count, count);
    for (let watcher = 0; watcher < count; watcher++) {
      const touch = touchOf(watcher);
      assert.equal(touches.watcher(touch), watcher);
      assert.deepEqual(
        [touches.firstDelivery(touch), touches.lastDelivery(touch), touches.firstRevision(touch)],
        [watcher, watcher + 7, 2 ** 40],
      );
      assert.deepEqual([touches.events(touch), touches.bytes(touch)], [2, 2 ** 33 + 10]);
      assert.equal(touches.isFull(touch), watcher % 3 === 0);
      touches.end(touch);
      assert.equal(touchOf(watcher), none);
    }
    touches.clear();
    assert.equal(touches.count, 0);
  }
});

test("memory of a million touches is given back once they are forgotten", { timeout: 60_000 }, async () => {
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc") as () => void;
  const { touches } = open();
  const count = 1_000_000;
  for (let watcher = 0; watcher < count; watcher++) touches.end(touches.of(watcher));
  assert.ok(process.memoryUsage().arrayBuffers >= 64 * count);
  touches.clear();
  // What is dropped is freed soon after the collection that finds it.
  while (process.memoryUsage().arrayBuffers > 8 << 20) {
    collect();
    await nextTurn();
  }
  assert.equal(touches.count, 0);
});
