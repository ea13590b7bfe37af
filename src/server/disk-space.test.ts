import assert from "node:assert/strict";
import { test } from "node:test";
import { DiskSpace } from "./disk-space.js";

const mib = 1 << 20;

function rig(free: number | Error) {
  const changes: boolean[] = [];
  const failures: unknown[] = [];
  const reports = { n: 0 };
  const state = { free };
  const space = new DiskSpace({
    freeBytes: () => (state.free instanceof Error ? Promise.reject(state.free) : Promise.resolve(state.free)),
    report: (low) => {
      if (low !== (changes.at(-1) ?? false)) changes.push(low);
      reports.n++;
    },
    failed: (error) => failures.push(error),
  });
  return { space, state, changes, failures, reports };
}

test("writes are refused before the database's reserve is touched, and taken again with some more room", async () => {
  const { space, state, changes, reports } = rig(192 * mib);
  await space.look();
  assert.deepEqual(changes, []);
  state.free = 192 * mib - 1;
  await space.look();
  await space.look();
  assert.deepEqual(changes, [true]);
  assert.equal(reports.n, 3, "said at each look");
  state.free = 255 * mib;
  await space.look();
  assert.deepEqual(changes, [true]);
  state.free = 256 * mib;
  await space.look();
  assert.deepEqual(changes, [true, false]);
});

test("either shortage counts, and only the end of both ends the alarm", async () => {
  const { space, state, changes } = rig(0);
  space.log(true);
  await space.look();
  space.log(false);
  assert.deepEqual(changes, [true]);
  state.free = 1024 * mib;
  await space.look();
  assert.deepEqual(changes, [true, false]);
});

test("a look that fails concludes nothing, and a disk that hangs is asked once", async () => {
  const { space, state, changes, failures } = rig(0);
  await space.look();
  state.free = new Error("EIO");
  await space.look();
  assert.deepEqual([changes, failures.length], [[true], 1]);
  let asked = 0;
  const hanging = new DiskSpace({
    freeBytes: () => {
      asked++;
      return new Promise(() => {});
    },
    report: () => assert.fail(),
    failed: () => assert.fail(),
  });
  void hanging.look();
  void hanging.look();
  assert.equal(asked, 1);
});
