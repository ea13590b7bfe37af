/**
 * Whatever a peer sends, a member must not fall over it: bad messages are refused with a result, and those that are
 * well formed but lie may only do what a message can do. An assertion here would be a remote kill.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { EntryBatch, SeededPrng, type EntryType, type Prng } from "../../src/base/index.js";
import {
  emptyConfState,
  localAppendThread,
  localApplyThread,
  MessageType,
  message,
  RawNode,
  type Message,
  type Snapshot,
} from "../../src/raft/index.js";

const seeds = 200;
const messagesPerSeed = 400;
const allTypes = Object.values(MessageType);
/** What peers send each other; the rest is local. */
const peerTypes = allTypes.filter((type) => ![0, 1, 10, 11, 12, 19, 20, 21, 22].includes(type));

class Hostile {
  readonly #prng: Prng;
  readonly node: RawNode;

  constructor(seed: number) {
    this.#prng = new SeededPrng(seed);
    this.node = new RawNode({
      id: 1n,
      electionTicks: 3,
      heartbeatTicks: 1,
      preVote: seed % 2 === 0,
      checkQuorum: seed % 3 === 0,
      maxSizePerMessage: 100,
      maxInflightMessages: 4,
      maxUncommittedSize: 1000,
      asyncStorageWrites: true,
      prng: this.#prng,
      initialState: {
        hardState: null,
        confState: { ...emptyConfState, voters: seed % 4 === 0 ? [1n] : [1n, 2n, 3n] },
        prevIndex: 0,
        prevTerm: 0,
        entries: [],
        applied: 0,
      },
      snapshot: () => this.#ownSnapshot(),
    });
  }

  #ownSnapshot(): Snapshot | null {
    const index = this.node.appliedIndex;
    const { confState } = this.node;
    return index === 0 ? null : { index, term: this.node.termOf(index), confState, data: new Uint8Array(0) };
  }

  #pick<T>(items: readonly T[]): T {
    return items[this.#prng.below(items.length)]!;
  }

  #chance(oneIn: number): boolean {
    return this.#prng.below(oneIn) === 0;
  }

  /** Mostly a number that could be meant, sometimes one that could not. */
  #position(near: number): number {
    if (this.#chance(200)) return this.#pick([-1, 0.5, Number.NaN, Infinity, 2 ** 53, 2 ** 52 - 1, 2 ** 52]);
    return Math.max(0, near - 3 + this.#prng.below(7));
  }

  #id(): bigint {
    return this.#pick([0n, 1n, 2n, 2n, 2n, 2n, 2n, 2n, 3n, 3n, 3n, 3n, 4n, localAppendThread, localApplyThread]);
  }

  #entries(index: number, term: number): EntryBatch[] {
    const batches: EntryBatch[] = [];
    let next = this.#chance(6) ? this.#position(index) : index + 1;
    for (let i = this.#prng.below(4); i > 0; i--) {
      const count = 1 + this.#prng.below(3);
      const bytes = Uint8Array.from({ length: count * 3 }, () => this.#prng.below(256));
      const entryTypes = Uint8Array.from({ length: count }, () => (this.#chance(4) ? this.#prng.below(4) : 0));
      const ends = Uint32Array.from({ length: count }, (_, at) => (at + 1) * 3);
      const entryTerm = this.#chance(6) ? this.#position(term) : term;
      batches.push(new EntryBatch({ term: entryTerm, firstIndex: next, types: entryTypes, ends, bytes }));
      next += count;
    }
    return batches;
  }

  #snapshot(): Snapshot | null {
    if (this.#chance(3)) return null;
    const ids = (): bigint[] => Array.from({ length: this.#prng.below(4) }, () => BigInt(this.#prng.below(5)));
    const confState = this.#chance(2)
      ? { ...emptyConfState, voters: [1n, 2n, 3n] }
      : { voters: ids(), learners: ids(), votersOutgoing: ids(), learnersNext: ids(), autoLeave: this.#chance(2) };
    const index = this.#position(this.node.lastIndex + 2);
    return { index, term: this.#position(this.node.term), confState, data: new Uint8Array(0) };
  }

  message(): Message {
    const { node } = this;
    const index = this.#position(node.lastIndex);
    const logTerm = this.#chance(3) ? this.#position(node.term) : node.termOf(Number.isInteger(index) ? index : 0);
    const length = this.#pick([0, 7, 8, 16]);
    const near = this.#chance(20) ? this.#position(2 ** 20) : this.#position(node.term);
    return message({
      type: this.#chance(30)
        ? (this.#prng.below(40) as MessageType)
        : this.#pick(this.#chance(10) ? allTypes : peerTypes),
      to: this.#chance(20) ? this.#id() : 1n,
      from: this.#id(),
      term: this.#chance(2) ? node.term : this.#chance(8) ? 0 : near,
      index,
      logTerm,
      entries: this.#entries(index, logTerm),
      commit: this.#position(node.commitIndex),
      snapshot: this.#snapshot(),
      reject: this.#chance(2),
      rejectHint: this.#position(node.lastIndex),
      context: this.#chance(3) ? null : Uint8Array.from({ length }, (_, at) => (at === 0 ? this.#prng.below(4) : 0)),
    });
  }

  /** What an honest host does between messages. */
  work(): void {
    const { node } = this;
    if (this.#chance(2)) node.tick();
    if (this.#chance(10)) node.campaign();
    if (this.#chance(4)) node.readIndex(Uint8Array.of(1));
    if (this.#chance(4))
      node.propose(EntryBatch.single({ term: 0, index: 0, type: 0 as EntryType, data: Uint8Array.of(1) }));
    while (node.hasReady() && !this.#chance(4)) {
      const ready = node.ready();
      const responses = [...(ready.append?.responses ?? []), ...(ready.apply?.responses ?? [])];
      for (const m of responses) if (m.to === 1n) node.stepStorageResponse(m);
    }
  }
}

test(`${seeds} runs of ${messagesPerSeed} hostile messages trip no assertion`, () => {
  const results = new Map<string, number>();
  const roles = new Set<number>();
  for (let seed = 1; seed <= seeds; seed++) {
    const hostile = new Hostile(seed);
    for (let i = 0; i < messagesPerSeed; i++) {
      const m = hostile.message();
      try {
        const result = hostile.node.step(m);
        results.set(result, (results.get(result) ?? 0) + 1);
        roles.add(hostile.node.role);
        hostile.work();
      } catch (error) {
        const stack = error instanceof Error ? error.stack : String(error);
        assert.fail(`seed ${seed}, message ${i}, type ${m.type} term ${m.term}: ${stack}`);
      }
    }
  }
  // Every way to be refused was met, and enough was taken.
  for (const result of ["ok", "localMessage", "unknownPeer", "invalidMessage", "commitBeyondLog"]) {
    assert.ok((results.get(result) ?? 0) > 10, `${result}: ${JSON.stringify([...results])}`);
  }
  assert.equal(roles.size, 4);
});
