import assert from "node:assert/strict";
import { test } from "node:test";
import { EntryType, SeededPrng, type Prng } from "../base/index.js";
import { isEmptyConfChange } from "./conf-change-codec.js";
import {
  changeConf,
  ConfChangeError,
  confStateFault,
  ConfChangeTransition,
  ConfChangeType,
  emptyConfState,
  isJoint,
  restoreConfState,
  type ConfChangeSingle,
  type ConfChangeV2,
} from "./conf-change.js";
import type { ConfState } from "./types.js";

const add = (nodeId: bigint): ConfChangeSingle => ({ type: ConfChangeType.AddNode, nodeId });
const remove = (nodeId: bigint): ConfChangeSingle => ({ type: ConfChangeType.RemoveNode, nodeId });
const learn = (nodeId: bigint): ConfChangeSingle => ({ type: ConfChangeType.AddLearnerNode, nodeId });

function change(confState: ConfState, ...changes: ConfChangeSingle[]): ConfState {
  return changeConf(confState, { transition: ConfChangeTransition.Auto, changes }).confState;
}

const leave: ConfChangeV2 = { transition: ConfChangeTransition.Auto, changes: [] };

function randomChange(prng: Prng): ConfChangeV2 {
  const types = Object.values(ConfChangeType);
  const changes = Array.from({ length: prng.below(4) }, () => ({
    type: types[prng.below(types.length)]!,
    nodeId: BigInt(prng.below(6)),
  }));
  return { transition: prng.below(3) as ConfChangeTransition, changes };
}

test("whatever is asked for, a configuration stays well formed and majorities overlap (thesis §4.1, §4.3)", () => {
  const prng = new SeededPrng(5);
  let confState = change(emptyConfState, add(1n));
  let refused = 0;
  for (let round = 0; round < 20_000; round++) {
    const before = confState;
    try {
      confState = changeConf(confState, randomChange(prng)).confState;
    } catch (error) {
      assert.ok(error instanceof ConfChangeError);
      assert.equal(confState, before);
      refused += 1;
      continue;
    }
    assert.equal(confStateFault(confState), null);
    assert.deepEqual(restoreConfState(confState), confState);
    if (isJoint(confState) || isJoint(before)) {
      if (!isJoint(before)) assert.deepEqual(confState.votersOutgoing, before.voters);
      if (!isJoint(confState)) assert.deepEqual(confState.voters, before.voters);
      continue;
    }
    const joined = confState.voters.filter((id) => !before.voters.includes(id)).length;
    const left = before.voters.filter((id) => !confState.voters.includes(id)).length;
    assert.ok(joined + left <= 1, "a simple change moves one voter");
  }
  assert.ok(refused > 1000 && refused < 19_000, `${refused} of 20000 refused`);
});

test("a voter that is demoted stays a voter of the outgoing half until it goes (thesis §4.3)", () => {
  const three = { ...emptyConfState, voters: [1n, 2n, 3n] };
  const joint = change(three, learn(3n), add(4n));
  assert.deepEqual(joint, {
    voters: [1n, 2n, 4n],
    learners: [],
    votersOutgoing: [1n, 2n, 3n],
    learnersNext: [3n],
    autoLeave: true,
  });
  const after = changeConf(joint, leave).confState;
  assert.deepEqual(after, { ...emptyConfState, voters: [1n, 2n, 4n], learners: [3n] });
});

test("the last voter cannot be removed", () => {
  const one = { ...emptyConfState, voters: [1n] };
  assert.throws(() => change(one, remove(1n)), ConfChangeError);
  assert.throws(() => changeConf(one, leave), ConfChangeError);
});

test("a change that the host refuses, node ID 0, does nothing", () => {
  const one = { ...emptyConfState, voters: [1n] };
  assert.deepEqual(change(one, add(0n)), one);
});

test("a configuration from elsewhere is put in order or refused", () => {
  const mixed = { ...emptyConfState, voters: [3n, 1n, 2n], learners: [9n, 8n] };
  assert.deepEqual(restoreConfState(mixed).voters, [1n, 2n, 3n]);
  const bad: Partial<ConfState>[] = [
    { voters: [1n, 1n] },
    { voters: [0n] },
    { voters: [1n], learners: [1n] },
    { learners: [1n] },
    { voters: [1n], autoLeave: true },
    { voters: [1n], learnersNext: [2n] },
    { votersOutgoing: [1n] },
    { voters: [1n], votersOutgoing: [1n, 2n], learnersNext: [1n] },
  ];
  for (const fields of bad) {
    assert.throws(
      () => restoreConfState({ ...emptyConfState, ...fields }),
      ConfChangeError,
      String(Object.keys(fields)),
    );
  }
});

test("whether an encoded change leaves a joint configuration", () => {
  const v1 = EntryType.ConfChange;
  const v2 = EntryType.ConfChangeV2;
  assert.equal(isEmptyConfChange(v2, new Uint8Array(0)), true);
  assert.equal(isEmptyConfChange(v1, new Uint8Array(0)), false);
  assert.equal(isEmptyConfChange(v2, Uint8Array.of(0x08, 2)), true, "a transition alone");
  assert.equal(isEmptyConfChange(v2, Uint8Array.of(0x1a, 2, 0x12, 0)), true, "a context that looks like a change");
  assert.equal(isEmptyConfChange(v2, Uint8Array.of(0x12, 4, 0x08, 0, 0x10, 3)), false);
  assert.equal(isEmptyConfChange(v2, Uint8Array.of(0x12)), null);
  assert.equal(isEmptyConfChange(v2, Uint8Array.of(0x12, 5, 0)), null);
  assert.equal(isEmptyConfChange(v2, Uint8Array.of(0x0b)), null, "a group");
  const huge = Uint8Array.of(0x12, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f);
  assert.equal(isEmptyConfChange(v2, huge), null);
  const prng = new SeededPrng(1);
  for (let i = 0; i < 20_000; i++) {
    const bytes = Uint8Array.from({ length: prng.below(20) }, () => prng.below(256));
    isEmptyConfChange(v2, bytes);
  }
});
