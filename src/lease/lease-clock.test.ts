/** The clock on a time that the tests move: ends in order, renewals, leadership, the spread at a promotion. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { SeededPrng } from "../base/index.js";
import { LeaseClock, Renewal } from "./index.js";

class Time {
  now = 1_000;
  readonly clock: LeaseClock;

  constructor(checkpointIntervalMs = Infinity) {
    this.clock = new LeaseClock(() => this.now, checkpointIntervalMs);
  }

  expired(max = Infinity): number[] {
    const ids: number[] = [];
    this.clock.takeExpired(max, (low) => void ids.push(low));
    return ids;
  }
  /** In whole milliseconds; the clock tells times apart by microseconds. */
  remaining(low: number, high = 0): number {
    return Math.round(this.clock.remainingMs(low, high));
  }
  listed(): number[] {
    const { ids, ends } = this.clock.all();
    return [...ends.keys()].sort((a, b) => ends[a]! - ends[b]!).map((at) => ids[2 * at]!);
  }
}

test("leases end in the order of their time, and not before it", () => {
  const time = new Time();
  time.clock.promote(0);
  for (const ttl of [5, 3, 9, 3]) time.clock.granted(ttl * 10 + time.clock.count, 0, ttl, 0);
  assert.deepEqual(time.listed(), [31, 33, 50, 92]);
  time.now += 2999;
  assert.deepEqual(time.expired(), []);
  time.now += 2;
  assert.deepEqual(time.expired(), [31, 33]);
  time.now += 10_000;
  assert.deepEqual(new Set(time.expired()), new Set([31, 33, 50, 92]), "those not revoked yet are asked for again");
});

test("a renewal starts the time anew; a revoked lease is unknown", () => {
  const time = new Time();
  time.clock.promote(0);
  time.clock.granted(1, 7, 10, 0);
  time.now += 9_000;
  assert.equal(time.remaining(1, 7), 1000);
  assert.equal(time.clock.renew(1, 7), Renewal.Renewed);
  assert.equal(time.remaining(1, 7), 10_000);
  assert.equal(time.clock.renewedCount, 1);
  assert.equal(time.clock.renew(1, 8), Renewal.Unknown);
  assert.equal(time.clock.revoked(1, 7), false);
  assert.equal(time.clock.renew(1, 7), Renewal.Unknown);
  assert.ok(Number.isNaN(time.clock.remainingMs(1, 7)));
  time.now += 1e6;
  assert.deepEqual(time.expired(), []);
});

test("a lease whose revoke is on its way cannot be renewed, one that is only overdue can", () => {
  const time = new Time();
  time.clock.promote(0);
  time.clock.granted(1, 0, 2, 0);
  time.now += 5_000;
  assert.equal(time.clock.renew(1, 0), Renewal.Renewed);
  time.now += 5_000;
  assert.deepEqual(time.expired(), [1]);
  assert.equal(time.clock.renew(1, 0), Renewal.Ending);
  assert.equal(time.clock.revoked(1, 0), true);
});

test("no more revokes are on their way than asked for; a retry needs no room", () => {
  const time = new Time();
  time.clock.promote(0);
  for (let i = 1; i <= 10; i++) time.clock.granted(i, 0, 2, 0);
  time.now += 2_001;
  assert.deepEqual(time.expired(4), [1, 2, 3, 4]);
  assert.deepEqual(time.expired(4), []);
  time.clock.revoked(2, 0);
  assert.deepEqual(time.expired(4), [5]);
  time.now += 2_999;
  assert.deepEqual(time.expired(4), []);
  time.now += 1;
  assert.deepEqual(new Set(time.expired(4)), new Set([1, 3, 4, 5]));
});

test("nothing ends without leadership; a new leader gives the full time again and what is asked on top", () => {
  const time = new Time();
  time.clock.granted(1, 0, 10, 0);
  time.clock.granted(2, 0, 10, 4);
  time.now += 100_000;
  assert.deepEqual(time.expired(), []);
  assert.equal(time.clock.renew(1, 0), Renewal.Ending);
  assert.equal(time.remaining(1, 0), Infinity);
  time.clock.promote(1000);
  assert.equal(time.remaining(1, 0), 11_000);
  assert.equal(time.remaining(2, 0), 5_000, "what a checkpoint has left");
  time.now += 5_001;
  assert.deepEqual(time.expired(), [2]);
  time.clock.demote();
  time.now += 100_000;
  assert.deepEqual(time.expired(), []);
  time.clock.promote(0);
  assert.equal(time.clock.endingCount, 0);
  assert.equal(time.remaining(2, 0), 4_000);
});

test("a lease that a former leader has granted gets what is left of the time on top when it is heard of later", () => {
  const time = new Time();
  time.clock.promote(1000);
  time.now += 300;
  time.clock.granted(1, 0, 10, 0, true);
  assert.equal(time.remaining(1, 0), 10_700);
  time.now += 1000;
  time.clock.granted(2, 0, 10, 0, true);
  assert.equal(time.remaining(2, 0), 10_000, "the former leader has stepped down");
});

test("a renewal at a new leader does not shorten what the former leader may promise meanwhile", () => {
  const time = new Time();
  time.clock.granted(1, 0, 10, 0);
  time.clock.promote(1000);
  time.clock.granted(2, 0, 10, 0);
  time.now += 400;
  assert.equal(time.clock.renew(1, 0), Renewal.Renewed);
  assert.equal(time.remaining(1, 0), 10_600);
  assert.equal(time.clock.renew(2, 0), Renewal.Renewed);
  assert.equal(time.remaining(2, 0), 10_000, "the former leader does not know it");
  time.now += 700;
  assert.equal(time.clock.renew(1, 0), Renewal.Renewed);
  assert.equal(time.remaining(1, 0), 10_000, "the former leader has stepped down");
});

test("a new leader spreads the ends of many leases to three quarters of a thousand a second", () => {
  const time = new Time();
  for (let i = 1; i <= 5000; i++) time.clock.granted(i, 0, 10, 0);
  time.clock.promote(1000);
  const perSecond: number[] = [];
  time.now += 11_000;
  for (let second = 0; time.clock.count > 0 && second < 20; second++, time.now += 1000) {
    const ids = time.expired();
    perSecond.push(ids.length);
    for (const id of ids) time.clock.revoked(id, 0);
  }
  assert.equal(
    perSecond.reduce((sum, n) => sum + n, 0),
    5000,
  );
  assert.ok(Math.max(...perSecond) <= 1600, `${perSecond}`);
  assert.ok(perSecond.filter((n) => n > 0).length >= 7, `${perSecond}`);
});

test("fewer than a thousand end together", () => {
  const time = new Time();
  for (let i = 1; i < 1000; i++) time.clock.granted(i, 0, 10, 0);
  time.clock.promote(0);
  time.now += 10_001;
  assert.equal(time.expired().length, 999);
});

/** The checkpoints that are due, as they are proposed. */
const checkpoints = (clock: LeaseClock, countMax = 1000): [number, number][] => {
  const due: [number, number][] = [];
  clock.takeCheckpoints(countMax, (low, _high, remainingTtl) => void due.push([low, remainingTtl]));
  return due;
};

test("a lease longer than the interval has a checkpoint each interval, as long as more than that is left", () => {
  const time = new Time(300_000);
  time.clock.granted(1, 0, 1000, 0);
  time.clock.promote(0);
  time.clock.granted(2, 0, 300, 0);
  time.clock.granted(3, 0, 301, 0);
  time.now += 299_999;
  assert.deepEqual(checkpoints(time.clock), []);
  time.now += 2;
  assert.deepEqual(checkpoints(time.clock), [
    [1, 700],
    [3, 1],
  ]);
  assert.equal(time.clock.checkpointsUnderWay, 2);
  assert.deepEqual(checkpoints(time.clock), []);
  time.clock.checkpointed(1, 0, 700);
  time.clock.checkpointed(3, 0, 1);
  assert.equal(time.clock.checkpointsUnderWay, 0);
  time.now += 300_001;
  assert.deepEqual(checkpoints(time.clock), [[1, 400]]);
  time.clock.checkpointed(1, 0, 400);
  time.now += 300_001;
  assert.deepEqual(checkpoints(time.clock), [[1, 100]]);
  time.clock.checkpointed(1, 0, 100);
  time.now += 300_001;
  assert.deepEqual(checkpoints(time.clock), [], "it has ended");
  assert.deepEqual(time.expired(), [2, 3, 1]);
});

test("a checkpoint that was proposed and lost is proposed again; one of the whole time waits an interval", () => {
  const time = new Time(2000);
  time.clock.promote(0);
  time.clock.granted(1, 0, 100, 0);
  time.now += 2001;
  assert.deepEqual(checkpoints(time.clock), [[1, 98]]);
  time.now += 2001;
  assert.deepEqual(checkpoints(time.clock), [[1, 96]]);
  time.clock.granted(2, 0, 100, 0);
  time.now += 2001;
  assert.equal(time.clock.renew(2, 0), Renewal.Renewed);
  assert.deepEqual(checkpoints(time.clock), [[1, 94]]);
  time.now += 2001;
  assert.deepEqual(checkpoints(time.clock), [
    [2, 98],
    [1, 92],
  ]);
});

test("checkpoints are looked at so many at a time, and none is named without leadership or without the feature", () => {
  const [time, off] = [new Time(10_000), new Time()];
  for (const { clock } of [time, off]) {
    for (let i = 1; i <= 2500; i++) clock.granted(i, 0, 100, 0);
    clock.promote(0);
  }
  time.now += 10_001;
  off.now += 10_000_000;
  assert.deepEqual(
    [1, 2, 3, 4].map(() => checkpoints(time.clock).length),
    [1000, 1000, 500, 0],
  );
  time.now += 10_001;
  time.clock.demote();
  assert.deepEqual(checkpoints(time.clock), []);
  assert.equal(time.clock.checkpointsUnderWay, 0);
  assert.deepEqual(checkpoints(off.clock), []);
});

test("a renewal after a checkpoint, or while one is under way, waits for the log to hold the whole time again", () => {
  const time = new Time(2000);
  time.clock.promote(0);
  time.clock.granted(1, 0, 100, 0);
  time.now += 2001;
  checkpoints(time.clock);
  assert.equal(time.clock.renew(1, 0), Renewal.Checkpointed, "it may be in the log");
  assert.equal(time.clock.beginClear(1, 0), true);
  assert.equal(time.clock.beginClear(1, 0), false, "it is asked for");
  time.clock.checkpointed(1, 0, 98);
  assert.equal(time.clock.renew(1, 0), Renewal.Checkpointed);
  assert.equal(time.clock.beginClear(1, 0), false);
  time.now += 3000;
  const late: number[] = [];
  time.clock.takeLateClears(10, (low) => void late.push(low));
  time.clock.takeLateClears(10, (low) => void late.push(low));
  assert.deepEqual(late, [1], "it may have been lost, once in three seconds");
  time.clock.checkpointed(1, 0, 0);
  assert.equal(time.clock.renew(1, 0), Renewal.Renewed);
  assert.equal(time.remaining(1, 0), 100_000);
  time.now += 3000;
  time.clock.takeLateClears(10, () => assert.fail());
});

test("a new leader gives what a checkpoint has left, one that it hears of later, too", () => {
  const time = new Time();
  time.clock.granted(1, 0, 100, 30);
  time.clock.granted(2, 0, 100, 30);
  time.clock.granted(3, 0, 100, 0);
  time.clock.promote(1000);
  assert.equal(time.remaining(1, 0), 31_000);
  time.now += 500;
  time.clock.checkpointed(2, 0, 0, true);
  assert.equal(time.remaining(2, 0), 100_500, "a former leader has renewed it");
  time.clock.checkpointed(3, 0, 20, true);
  assert.equal(time.remaining(3, 0), 20_500);
  // Without the feature, too: a renewal is for the whole time, and so is what the log holds.
  assert.equal(time.clock.renew(1, 0), Renewal.Checkpointed);
  assert.equal(time.clock.beginClear(1, 0), true);
  time.clock.checkpointed(1, 0, 0);
  assert.equal(time.clock.renew(1, 0), Renewal.Renewed);
  assert.equal(time.remaining(1, 0), 100_500, "and its client may renew it at the former leader yet");
});

test("an end that is asked for stays so, whatever checkpoints come; a lease's slot is free of the last one's", () => {
  const time = new Time(2000);
  time.clock.promote(0);
  time.clock.granted(1, 0, 3, 0);
  time.now += 2001;
  assert.deepEqual(checkpoints(time.clock), [[1, 1]]);
  time.now += 1000;
  assert.deepEqual(time.expired(), [1]);
  time.clock.checkpointed(1, 0, 1);
  time.clock.checkpointed(1, 0, 0);
  assert.deepEqual(time.expired(), []);
  assert.equal(time.clock.renew(1, 0), Renewal.Ending);
  time.clock.revoked(1, 0);
  time.clock.granted(2, 0, 100, 0);
  assert.equal(time.clock.renew(2, 0), Renewal.Renewed);
});

test("random grants, renewals and revokes end as in a plain list", () => {
  const prng = new SeededPrng(Number(process.env["SEED"] ?? 99));
  const below = (n: number): number => prng.uint32() % n;
  const time = new Time();
  time.clock.promote(0);
  const model = new Map<number, { ttl: number; due: number }>();
  for (let step = 0; step < 20_000; step++) {
    time.now += below(200);
    const id = 1 + below(300);
    const known = model.get(id);
    if (below(3) > 0) {
      const ended = time.expired();
      const expected = [...model].filter(([, { due }]) => due <= time.now).map(([key]) => key);
      assert.deepEqual(new Set(ended), new Set(expected));
      for (const key of ended) {
        assert.equal(time.clock.revoked(key, 0), true);
        model.delete(key);
      }
    } else if (known === undefined) {
      const ttl = 1 + below(60);
      time.clock.granted(id, 0, ttl, 0);
      model.set(id, { ttl, due: time.now + time.clock.remainingMs(id, 0) });
    } else if (below(2) === 0 && known.due > time.now) {
      assert.equal(time.clock.renew(id, 0), Renewal.Renewed);
      known.due = time.now + time.clock.remainingMs(id, 0);
    } else if (known.due > time.now) {
      time.clock.revoked(id, 0);
      model.delete(id);
    }
    if (step % 1000 !== 0) continue;
    const listed = time.listed();
    assert.equal(listed.length, model.size);
    for (let i = 1; i < listed.length; i++) {
      assert.ok(time.clock.remainingMs(listed[i - 1]!, 0) <= time.clock.remainingMs(listed[i]!, 0));
    }
  }
});
