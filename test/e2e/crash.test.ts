/**
 * kill -9 at random moments under concurrent load, at least 50 times, on one data folder. After each
 * restart every acknowledged write must be there at its revision, none applied twice, and HashKV
 * must equal that of a model which has applied the same history. Watchers go along: each is told every event of its
 * range exactly once and in order, over all kills. SEED=<n> replays the choices,
 * ROUNDS=<n> sets their number.
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import {
  chooseSeed,
  freePorts,
  Member,
  ourCommand,
  Prng,
  temporaryFolder,
  type MemberOptions,
} from "../support/index.js";
import { checkRound } from "./crash-check.js";
import { Load } from "./crash-load.js";
import { CrashWatcher, type WatchOptions } from "./crash-watch.js";
import { History } from "./history.js";

const command = ourCommand();
const rounds = Number(process.env["ROUNDS"] ?? 50);

/** Starts a member and, now and then, kills it while it is still starting, before it may go on. */
const restart = async (options: MemberOptions, prng: Prng): Promise<Member> => {
  if (prng.oneIn(5)) {
    const doomed = Member.launch(options);
    // A random moment within a start is a time, not an event.
    await Promise.race([delay(prng.below(600)), doomed.exited]);
    await doomed.kill();
  }
  return Member.start(options);
};

/**
 * Kills the member in the midst of its load, when `killAt` writes were acknowledged; sometimes only
 * after the load has ended, so that what it does by itself afterwards is cut off as well.
 */
const loadAndKill = async (member: Member, load: Load, prng: Prng): Promise<void> => {
  const running = load.run();
  await Promise.race([load.reached, running]);
  if (prng.oneIn(5)) {
    load.stop();
    await running;
    await delay(prng.below(300));
  }
  await member.kill();
  await running;
};

/** They go on from round to round. */
const lasting: readonly WatchOptions[] = [
  { key: "\0", end: "\0", start: 1 },
  { key: "shared/", end: "shared0", start: 0, fragment: true, progressNotify: true },
  { key: "shared/7", start: 1 },
  { key: "shared/1", end: "shared/3", start: 1, noPut: true },
];

/** The lasting ones, and one that is new and begins somewhere in the past. */
const watchersOf = (watchers: readonly CrashWatcher[], history: History, prng: Prng): CrashWatcher[] => [
  ...watchers,
  new CrashWatcher({
    key: "shared/",
    end: "unique0",
    start: prng.between(1, history.revision),
    fragment: prng.oneIn(2),
  }),
];

/** Has the watchers told all there is, and holds them against the history; the number of events. */
const checkWatchers = async (watchers: readonly CrashWatcher[], port: number, history: History): Promise<number> => {
  let events = 0;
  for (const watcher of watchers) watcher.open(port);
  await Promise.all(watchers.map((watcher) => watcher.settle(history.revision)));
  for (const watcher of watchers) {
    watcher.close();
    events += watcher.check(history);
  }
  return events;
};

test(`${rounds} times kill -9 under load loses nothing and applies nothing twice`, async (t) => {
  const seed = chooseSeed();
  process.stdout.write(`crash: SEED=${seed}\n`);
  const prng = new Prng(seed);
  const folder = await temporaryFolder();
  const [clientPort = 0, peerPort = 0] = await freePorts(2);
  const options: MemberOptions = { command, dataDir: join(folder.path, "data"), clientPort, peerPort };
  const history = new History();
  const totals = { acknowledged: 0, revisions: 0, keptUnknown: 0, lostUnknown: 0, watched: 0 };
  const lastingWatchers = lasting.map((options) => new CrashWatcher(options));
  let member = await Member.start(options);
  try {
    for (let round = 0; round < rounds; round++) {
      const killAt = prng.pick([1, prng.between(2, 60), prng.between(60, 600), prng.between(600, 2500)]);
      const writersPerConnection = prng.pick([1, 4, 16]);
      const load = new Load(
        { port: clientPort, seed, round, connections: 4, writersPerConnection, reachAt: killAt },
        history.revision,
      );
      const watchers = watchersOf(lastingWatchers, history, prng);
      for (const watcher of watchers) watcher.open(clientPort);
      await loadAndKill(member, load, prng);
      for (const watcher of watchers) watcher.close();
      assert.ok(
        load.acknowledged >= killAt,
        `round ${round}: only ${load.acknowledged} of ${killAt} were acknowledged`,
      );
      member = await restart(options, prng);
      const result = await checkRound(clientPort, load.writes, history).catch((error: unknown) => {
        throw new Error(`SEED=${seed}, round ${round}, killed after ${killAt} acknowledgements`, { cause: error });
      });
      for (const [name, count] of Object.entries(result)) totals[name as keyof typeof totals] += count;
      totals.watched += await checkWatchers(watchers, clientPort, history).catch((error: unknown) => {
        throw new Error(`SEED=${seed}, round ${round}: a watch`, { cause: error });
      });
    }
    await member.stop();
    member = await Member.start(options);
    await checkRound(clientPort, [], history);
    assert.ok(totals.acknowledged >= rounds, "the load did something");
  } finally {
    t.diagnostic(`${rounds} rounds, ${JSON.stringify(totals)}, revision ${history.revision}`);
    await member.kill();
    await folder.remove();
  }
});
