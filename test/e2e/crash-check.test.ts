/**
 * The crash test's own check must fail when anything is wrong: here a sound history is made, and
 * then what the clients believe is falsified in one way at a time.
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { freePorts, Member, ourCommand, temporaryFolder } from "../support/index.js";
import { checkRound } from "./crash-check.js";
import { Load, type Write } from "./crash-load.js";
import { checkEvents, expectedEvents } from "./crash-watch.js";
import { History, type Change, type HistoryEvent } from "./history.js";

const command = ourCommand();
let member: Member | null = null;
let writes: readonly Write[] = [];
let removeFolder = async (): Promise<void> => {};

before(async () => {
  const folder = await temporaryFolder();
  removeFolder = folder.remove;
  const [clientPort = 0, peerPort = 0] = await freePorts(2);
  member = await Member.start({ command, dataDir: join(folder.path, "data"), clientPort, peerPort });
  const load = new Load(
    { port: clientPort, seed: 1, round: 0, connections: 2, writersPerConnection: 4, reachAt: 200 },
    1,
  );
  const running = load.run();
  await load.reached;
  load.stop();
  await running;
  writes = load.writes;
});

after(async () => {
  await member?.kill();
  await removeFolder();
});

const check = (believed: readonly Write[]): Promise<unknown> => checkRound(member?.port ?? 0, believed, new History());

const copy = (): Write[] => writes.map((write) => ({ ...write }));

const acknowledged = (list: readonly Write[], isWanted: (write: Write) => boolean): Write => {
  const found = list.find((write) => write.revision !== null && !write.wasEmpty && isWanted(write));
  if (found === undefined) throw new Error("the load made no such write");
  return found;
};

const isTxn = ({ changes }: Write): boolean => changes.length > 1;

const withValue = (changes: readonly Change[], value: string): Change[] =>
  changes.map((change) => (change.kind === "put" ? { ...change, value } : change));

test("the history as it was passes, acknowledged or of unknown fate", async () => {
  await check(writes);
  const doubtful = copy();
  for (const write of doubtful.slice(50, 60)) write.revision = null;
  await check(doubtful);
});

const falsifications: Readonly<Record<string, (list: Write[]) => Write[]>> = {
  "an acknowledged write that the store does not have": (list) => {
    const newest = Math.max(...list.map(({ revision }) => revision ?? 0));
    const lost: Write = {
      id: "lost",
      changes: [{ kind: "put", key: "unique/lost", value: "x" }],
      after: newest,
      revision: newest + 1,
      wasEmpty: false,
    };
    return [...list, lost];
  },
  "an acknowledged write with another value": (list) => {
    const target = acknowledged(list, isTxn);
    return list.map((write) => (write === target ? { ...write, changes: withValue(write.changes, "other") } : write));
  },
  "an acknowledged write that did more than was asked": (list) => {
    const target = acknowledged(list, isTxn);
    return list.map((write) => (write === target ? { ...write, changes: write.changes.slice(0, 1) } : write));
  },
  "a write of unknown fate applied in part": (list) => {
    const target = acknowledged(list, isTxn);
    const part = {
      ...target,
      revision: null,
      changes: [...target.changes, { kind: "put", key: "unique/more", value: "y" } as const],
    };
    return list.map((write) => (write === target ? part : write));
  },
  "a revision that nobody asked for": (list) => {
    const target = acknowledged(list, isTxn);
    return list.filter((write) => write !== target);
  },
  "one revision given twice": (list) => {
    const first = acknowledged(list, isTxn);
    return [...list, { ...first, id: "again" }];
  },
  "a revision below one acknowledged before": (list) => {
    const target = acknowledged(list, isTxn);
    return list.map((write) => (write === target ? { ...write, after: (write.revision ?? 0) + 1 } : write));
  },
};

for (const [name, falsify] of Object.entries(falsifications)) {
  test(`noticed: ${name}`, async () => {
    await assert.rejects(check(falsify(copy())), (error) => error instanceof Error && !(error instanceof TypeError));
  });
}

const watched = { key: "a", end: "c", start: 2 };

const someHistory = (): History => {
  const history = new History();
  for (const key of ["a", "b", "c", "a"]) history.apply([{ kind: "put", key, value: `${key}${history.revision}` }]);
  history.apply([
    { kind: "put", key: "b", value: "again" },
    { kind: "delete", key: "a" },
  ]);
  return history;
};

const toldWrongly: Readonly<Record<string, (told: HistoryEvent[]) => HistoryEvent[]>> = {
  "an event that was not told": (told) => told.toSpliced(1, 1),
  "the last event not told": (told) => told.slice(0, -1),
  "an event told twice": (told) => [told[0]!, ...told],
  "events out of order": (told) => [told[1]!, told[0]!, ...told.slice(2)],
  "an event that is not of the range": (told) => [...told, { ...told[0]!, key: "c" }],
  "another value": (told) => told.with(0, { ...told[0]!, state: { ...told[0]!.state!, value: "x" } }),
  "no previous value": (told) => told.with(2, { ...told[2]!, previous: undefined }),
  "another previous value": (told) => told.with(2, { ...told[2]!, previous: { ...told[2]!.previous!, value: "x" } }),
};

test("a watch that was told all passes", () => {
  const expected = expectedEvents(someHistory(), watched, 2);
  assert.deepEqual(
    expected.map(({ key, revision, previous }) => [key, revision, previous?.mod]),
    [
      ["a", 2, undefined],
      ["b", 3, undefined],
      ["a", 5, 2],
      ["b", 6, 3],
      ["a", 6, 5],
    ],
  );
  checkEvents([...expected], expected, "watch");
});

for (const [name, falsify] of Object.entries(toldWrongly)) {
  test(`noticed of a watch: ${name}`, () => {
    const expected = expectedEvents(someHistory(), watched, 2);
    assert.throws(() => checkEvents(falsify([...expected]), expected, "watch"), assert.AssertionError);
  });
}
