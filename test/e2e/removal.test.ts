/**
 * A member that applies its own removal: it says so in etcd's words, ends with 0, and does so again at each start,
 * since its data is of no use any more. Another member would have written the entry; here the test does.
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { EntryBatch, EntryType } from "../../src/base/index.js";
import { formatMember } from "../../src/membership/index.js";
import { decodeConfChange, encodeConfChange } from "../../src/proto/index.js";
import { Wal, type HardState } from "../../src/storage/wal/index.js";
import { Member, optionsAlike, ourCommand, temporaryFolder, type MemberOptions } from "../support/index.js";

/** Other member: it comes in first, since a cluster never loses its last voter. */
const heir = { id: 0x77n, name: "heir", peerURLs: ["http://127.0.0.1:8"], clientURLs: [], isLearner: false };

/** Appends to a stopped member's log what a cluster would: another voter comes, this one goes. */
async function writeRemoval(dir: string): Promise<bigint> {
  let told: () => void = () => {};
  const durable = new Promise<void>((resolve) => (told = resolve));
  const wal = await Wal.open({ dir, onDurable: () => told(), onFatal: (error) => assert.fail(error) });
  let hardState: HardState = { term: 0, vote: 0n, commit: 0 };
  let lastIndex = 0;
  let self = 0n;
  await wal.replay({
    entriesRecord: (batch) => {
      if (batch.typeOf(batch.firstIndex) === EntryType.ConfChange)
        self = decodeConfChange(batch.dataOf(batch.firstIndex)).nodeId!;
      lastIndex = batch.lastIndex;
    },
    hardStateRecord: (state) => (hardState = state),
    snapshotMark: () => {},
  });
  const changes = [
    encodeConfChange({ id: 1n, nodeId: heir.id, context: formatMember(heir) }),
    encodeConfChange({ id: 2n, type: 1, nodeId: self }),
  ];
  const batch = new EntryBatch({
    term: hardState.term,
    firstIndex: lastIndex + 1,
    types: new Uint8Array(2).fill(EntryType.ConfChange),
    ends: Uint32Array.of(changes[0]!.length, changes[0]!.length + changes[1]!.length),
    bytes: Buffer.concat(changes),
  });
  wal.append({ batches: [batch], hardState: { ...hardState, commit: batch.lastIndex }, token: 1 });
  await durable;
  await wal.close();
  return self;
}

/** Starts the member, which ends by itself. */
async function runsToItsEnd(options: MemberOptions): Promise<Member> {
  const member = Member.launch(options);
  await member.waitForLog('"server error"');
  assert.deepEqual(await member.exited, { code: 0, signal: null });
  return member;
}

test("a member that applies its own removal ends as etcd's, at each start", { timeout: 120_000 }, async (t) => {
  const folder = await temporaryFolder();
  t.after(() => folder.remove());
  const options = await optionsAlike(ourCommand(), join(folder.path, "data"));
  const before = Member.launch(options);
  await before.ready();
  await before.stop();
  const self = await writeRemoval(join(options.dataDir, "member", "wal"));
  for (let start = 0; start < 2; start++) {
    const member = await runsToItsEnd(options);
    const warned = member.log
      .map((line) => JSON.parse(line) as Record<string, unknown>)
      .filter(({ level, logger }) => level !== "info" && level !== "debug" && logger !== "raft")
      .map(({ level, msg, error }) => [level, msg, error]);
    const removed = "the member has been permanently removed from the cluster";
    assert.deepEqual(
      warned.filter(([, msg]) => !String(msg).includes("direct I/O")),
      [
        ["warn", "server error", removed],
        ["warn", "data-dir used by this member must be removed", undefined],
      ],
    );
    const told = member.log.some((line) => line.includes('"removed member"') && line.includes(self.toString(16)));
    assert.equal(told, start === 0, "applied once");
  }
});
