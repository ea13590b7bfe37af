/** How a member sets Raft up: etcd's settings are in force. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { message, MessageType, type Message } from "../raft/index.js";
import type { WalAppend } from "../storage/wal/index.js";
import { MemberCore } from "./member-core.js";
import { MemberRig } from "./member-rig.test-support.js";
import { anonymous } from "./proposal-builder.js";

const putField = 4;

/** One of three members, with a disk that is quick. */
class Rig extends MemberRig {
  readonly core: MemberCore;

  constructor(flags: readonly string[] = []) {
    super(3, { flags });
    this.core = new MemberCore(this.surroundings, this.state);
    this.core.begin();
  }

  override appended(work: WalAppend): void {
    super.appended(work);
    queueMicrotask(() => this.core.onDurable(work.token));
  }

  receive(fields: Partial<Message> & { readonly type: MessageType }): void {
    assert.equal(this.core.receive(message({ to: 1n, from: 2n, term: this.core.term, ...fields })), "ok");
  }

  /** Ticks until it asks for votes. */
  stands(): MessageType {
    const asks = ({ type }: Message): boolean => type === MessageType.PreVote || type === MessageType.Vote;
    for (let i = 0; i < 20 && !this.sent.some(asks); i++) this.core.tick();
    return this.sent.find(asks)!.type;
  }

  /** Member 2 votes for it and has all of its log. */
  async leads(): Promise<void> {
    this.stands();
    await settled();
    this.receive({ type: MessageType.PreVoteResp, term: this.core.term + 1 });
    await settled();
    this.receive({ type: MessageType.VoteResp });
    await settled();
    assert.ok(this.core.isLeader);
    await this.acknowledges();
  }

  /** Member 2 takes what it is sent, until it has all; returns the appends with entries. */
  async acknowledges(): Promise<Message[]> {
    const taken: Message[] = [];
    for (let n = 0; ; n++) {
      assert.ok(n < 1000, "appends without end");
      const appends = this.takeAppends().filter(({ entries }) => entries.length > 0);
      if (appends.length === 0) return taken;
      taken.push(...appends);
      for (const { entries } of appends) this.receive({ type: MessageType.AppResp, index: entries.at(-1)!.lastIndex });
      await settled();
    }
  }

  propose(bytes: number): void {
    const request = new Uint8Array(bytes);
    assert.equal(this.core.propose(putField, request, 0, request.length, 0, anonymous), null);
  }

  /** The appends that member 2 was sent since. */
  takeAppends(): Message[] {
    const appends = this.sent.filter(({ type, to }) => type === MessageType.App && to === 2n);
    this.sent.length = 0;
    return appends;
  }
}

/** Microtasks have been done. */
const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

test("--pre-vote: who stands asks first whether it would win, unless that is turned off (thesis §9.6)", async () => {
  for (const [flags, type] of [
    [[], MessageType.PreVote],
    [["--pre-vote=false"], MessageType.Vote],
  ] as const) {
    const rig = new Rig(flags);
    assert.equal(rig.stands(), type);
    await settled();
  }
});

test("a leader that hears nobody leads no longer after two election timeouts (thesis §6.2)", async () => {
  const rig = new Rig();
  await rig.leads();
  for (let i = 0; i < 20; i++) rig.core.tick();
  assert.equal(rig.core.isLeader, false);
});

test("an append to another member has 1 MiB of entries at most", async () => {
  const rig = new Rig();
  await rig.leads();
  for (let i = 0; i < 40; i++) rig.propose(100_000);
  rig.core.flush();
  const appends = await rig.acknowledges();
  const sizes = appends.map(({ entries }) => entries.reduce((sum, batch) => sum + batch.bytes.length, 0));
  const total = sizes.reduce((a, b) => a + b);
  assert.ok(total > 40 * 100_000, `${total} bytes sent`);
  assert.ok(Math.max(...sizes) <= 1 << 20, `${Math.max(...sizes)} bytes in one`);
  assert.ok(appends.length <= 6, "no smaller than they must be");
});

test("512 appends to one member wait for its answers at most", async () => {
  const rig = new Rig();
  await rig.leads();
  for (let i = 0; i < 600; i++) {
    rig.propose(10);
    rig.core.flush();
  }
  const appends = rig.takeAppends().filter(({ entries }) => entries.length > 0);
  assert.equal(appends.length, 512);
  rig.receive({ type: MessageType.AppResp, index: appends[0]!.entries.at(-1)!.lastIndex });
  assert.equal(rig.takeAppends().length, 1);
});

test("a member that the transport cannot reach is probed, one append at a time, until it answers (§5.3)", async () => {
  const rig = new Rig();
  await rig.leads();
  const appendsOfThree = (): number => {
    for (let i = 0; i < 3; i++) {
      rig.propose(10);
      rig.core.flush();
    }
    return rig.takeAppends().filter(({ entries }) => entries.length > 0).length;
  };
  assert.equal(appendsOfThree(), 3);
  rig.core.unreachable(2n);
  assert.equal(appendsOfThree(), 1);
});
