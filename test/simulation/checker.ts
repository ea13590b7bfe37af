/**
 * What must hold at every step of a run, whatever fails: Raft's promises (paper figure 3), durability before any
 * promise, equal state at equal applied index. The first thing that does not hold ends the run.
 */
import { EntryType, type EntryBatch } from "../../src/base/index.js";
import { MessageType, type ConfState, type HardState, type Message } from "../../src/raft/index.js";
import type { LogDisk } from "./log-disk.js";
import { Oracle } from "./oracle.js";

/** A promise was broken, or a member failed in a way that no fault explains. */
export class SimulationFailure extends Error {
  override readonly name = "SimulationFailure";
  /** Names the promise; equal for runs that fail in the same way. */
  readonly kind: string;

  constructor(kind: string, detail: string) {
    super(`${kind}: ${detail}`);
    this.kind = kind;
  }
}

/** A member, as far as the checks see it. */
export interface CheckedMember {
  readonly name: string;
  readonly id: bigint;
  readonly disk: LogDisk;
  readonly appliedIndex: number;
}

interface CommittedEntry {
  readonly term: number;
  readonly digest: string;
}

const digestOf = (type: number, data: Uint8Array): string =>
  `${type}:${Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString("latin1")}`;

/** The configurations in force, and those a leader may not have left yet. */
const confStatesKept = 3;

/** An entry that a log did not have. */
export interface NewEntry {
  readonly index: number;
  readonly term: number;
  readonly data: Uint8Array;
}

export class Checker {
  readonly oracle = new Oracle();
  readonly #members: () => readonly CheckedMember[];
  /** By index, from 1. */
  readonly #committed: CommittedEntry[] = [{ term: 0, digest: "" }];
  readonly #leaders = new Map<number, bigint>();
  readonly #votes = new Map<string, bigint>();
  readonly #logs = new Map<string, string>();
  /** Digest of what each entry changed. */
  readonly #changes: number[] = [];
  readonly #confStates: string[] = [];
  /** Places in the log of all changes of the configuration. */
  readonly #confChanges: { readonly index: number; readonly term: number }[] = [];
  #recentConfStates: ConfState[] = [];
  /** Entries up to here were committed by decree. */
  bootstrapIndex = 0;
  /** Hears of each entry when it is first written. */
  proposed: (member: CheckedMember, entry: NewEntry) => void = () => {};
  /** Hears of each entry that is first found committed. */
  committed: (index: number, term: number) => void = () => {};
  /** Terms that had a leader. */
  elections = 0;
  /** No member has said that an entry behind this one is committed, by a message, its disk or its apply. */
  #toldCommit = 0;

  constructor(members: () => readonly CheckedMember[]) {
    this.#members = members;
  }

  /** The highest index that any member knows to be committed. */
  get committedIndex(): number {
    return this.#committed.length - 1;
  }

  leaderOf(term: number): bigint | undefined {
    return this.#leaders.get(term);
  }

  #fail(kind: string, detail: string): never {
    throw new SimulationFailure(kind, detail);
  }

  /** A member writes entries to its log. */
  appended(member: CheckedMember, batch: EntryBatch): void {
    for (let index = batch.firstIndex; index <= batch.lastIndex; index++) {
      const place = `${index}:${batch.term}`;
      const digest = digestOf(batch.typeOf(index), batch.dataOf(index));
      const known = this.#logs.get(place);
      if (known === undefined) {
        this.#logs.set(place, digest);
        if (index <= this.bootstrapIndex) continue;
        if (batch.typeOf(index) !== EntryType.Normal) this.#changeProposed(member, index, batch.term);
        else if (digest.length > 2) this.proposed(member, { index, term: batch.term, data: batch.dataOf(index) });
      } else if (known !== digest) this.#fail("log matching", `${member.name} has another entry ${place}`);
      const committed = this.#committed[index];
      if (committed !== undefined && committed.term !== batch.term) {
        this.#mayReplace(member, index, batch.term, committed.term);
      }
    }
  }

  /** Its leader writes a change of the configuration: all those before it in its log must be applied (thesis §4.1). */
  #changeProposed(member: CheckedMember, index: number, term: number): void {
    const { appliedIndex, disk } = member;
    const isOpen = (other: { index: number; term: number }): boolean =>
      other.index > appliedIndex && other.index < index && (other.term === term || disk.holds(other.index, other.term));
    const open = this.#confChanges.find(isOpen);
    if (open !== undefined)
      this.#fail("one change at a time", `${member.name} proposes a change at ${index} before that at ${open.index}`);
    this.#confChanges.push({ index, term });
  }

  /** A follower that has not heard of the commit may still write what a leader without it sent; never a newer one. */
  #mayReplace(member: CheckedMember, index: number, term: number, committedTerm: number): void {
    if (term > committedTerm) {
      this.#fail(
        "leader completeness",
        `${member.name} writes entry ${index} of term ${term}, committed in ${committedTerm}`,
      );
    }
  }

  /** A member hands committed entries to apply. */
  handedToApply(member: CheckedMember, batch: EntryBatch): void {
    for (let index = batch.firstIndex; index <= batch.lastIndex; index++) {
      const type = batch.typeOf(index);
      const data = batch.dataOf(index);
      const digest = digestOf(type, data);
      const known = this.#committed[index];
      if (known === undefined) this.#commit(member, { index, term: batch.term, type, data, digest });
      else if (known.term !== batch.term || known.digest !== digest) {
        this.#fail("committed entries never change", `${member.name} applies another entry ${index}`);
      }
      if (!member.disk.holds(index, batch.term)) {
        this.#fail("apply after durable", `${member.name} applies entry ${index}, which its own log may lose`);
      }
    }
  }

  #commit(
    member: CheckedMember,
    entry: { index: number; term: number; type: EntryType; data: Uint8Array; digest: string },
  ): void {
    const { index, term, type, data, digest } = entry;
    if (index !== this.#committed.length) {
      this.#fail("no gaps", `${member.name} applies entry ${index} after ${this.#committed.length - 1}`);
    }
    if (index > this.bootstrapIndex && !this.#quorumHolds(index, term)) {
      this.#fail(
        "commit by a quorum",
        `${member.name} applies entry ${index} of term ${term}, which no quorum has durably`,
      );
    }
    this.committed(index, term);
    this.#committed.push({ term, digest });
    this.#toldCommit = Math.max(this.#toldCommit, index);
    if (type === EntryType.Normal && data.length > 0) this.oracle.apply(index, data);
  }

  #quorumHolds(index: number, term: number): boolean {
    const holders = new Set<bigint>();
    for (const { id, disk } of this.#members()) if (disk.holds(index, term)) holders.add(id);
    const majority = (ids: readonly bigint[]): boolean =>
      ids.length === 0 || ids.filter((id) => holders.has(id)).length * 2 > ids.length;
    return this.#recentConfStates.some(
      ({ voters, votersOutgoing }) => voters.length > 0 && majority(voters) && majority(votersOutgoing),
    );
  }

  /** Apply has decided on a configuration change; `members`: who belongs to the cluster since then. */
  confChanged(
    member: CheckedMember,
    { index, confState, members }: { index: number; confState: ConfState; members: readonly { id: bigint }[] },
  ): void {
    const { voters, learners } = confState;
    const isSame =
      [...voters, ...learners].sort().join() ===
      members
        .map(({ id }) => id)
        .sort()
        .join();
    if (!isSame) this.#fail("the members are those who vote and learn", `${member.name} at entry ${index}`);
    const text = JSON.stringify(confState, (_, value: unknown) => (typeof value === "bigint" ? String(value) : value));
    const known = this.#confStates[index];
    if (known === undefined) {
      this.#confStates[index] = text;
      this.#recentConfStates = [...this.#recentConfStates, confState].slice(-confStatesKept);
    } else if (known !== text) {
      this.#fail("equal configurations", `${member.name} has another configuration at entry ${index}`);
    }
  }

  /** A member has applied an entry; `digest` is of what it changed. */
  applied(member: CheckedMember, index: number, term: number, digest: number): void {
    const committed = this.#committed[index];
    if (committed === undefined) this.#fail("apply after commit", `${member.name} has applied entry ${index}`);
    if (committed.term !== term)
      this.#fail("equal terms", `${member.name} has applied entry ${index} as of term ${term}`);
    this.#changes[index] ??= digest;
    if (this.#changes[index] !== digest) {
      this.#fail("equal state", `${member.name} has changed other bytes in applying entry ${index}`);
    }
  }

  /** A member's state is durable up to an index. */
  flushed(member: CheckedMember, index: number): void {
    const committed = this.#committed[index];
    if (index > 0 && (committed === undefined || !member.disk.holds(index, committed.term))) {
      this.#fail(
        "consistent index within the log",
        `${member.name} has flushed entry ${index}, which its log may lose`,
      );
    }
  }

  /** A member lets its log go up to an index. */
  released(member: CheckedMember, index: number, flushedIndex: number): void {
    if (index > flushedIndex) {
      this.#fail(
        "release after flush",
        `${member.name} releases entry ${index}; its state is durable up to ${flushedIndex}`,
      );
    }
  }

  /** A member writes its hard state. */
  hardStateWritten(member: CheckedMember, { term, vote, commit }: HardState): void {
    const before = member.disk.durable.hardState;
    const isBack =
      before !== null && (term < before.term || (term === before.term && before.vote !== 0n && vote !== before.vote));
    if (isBack) this.#fail("term and vote are kept", `${member.name} forgets its vote in term ${before.term}`);
    if (this.#leaders.get(term) === member.id) this.#countsOwnTerm(member, term, commit);
    else this.#toldCommit = Math.max(this.#toldCommit, commit);
  }

  /** A leader counts copies of entries of its own term alone; what is older is committed with those (§5.4.2). */
  #countsOwnTerm(member: CheckedMember, term: number, index: number): void {
    if (index <= Math.max(this.#toldCommit, this.bootstrapIndex)) return;
    this.#toldCommit = index;
    if (!this.#logs.has(`${index}:${term}`))
      this.#fail("commit by the own term", `${member.name} commits entry ${index} in term ${term}, which is older`);
  }

  /** A message leaves a member. */
  sent(member: CheckedMember, m: Message): void {
    switch (m.type) {
      case MessageType.App:
        this.#leads(member, m.term);
        this.#countsOwnTerm(member, m.term, m.commit);
        break;
      case MessageType.Heartbeat:
        this.#leads(member, m.term);
        // What a follower has of it may end with an entry of any term.
        this.#toldCommit = Math.max(this.#toldCommit, m.commit);
        break;
      case MessageType.Snap:
        this.#leads(member, m.term);
        break;
      case MessageType.VoteResp:
        if (!m.reject) this.#votes_(member, m);
        break;
      case MessageType.AppResp:
        if (!m.reject && m.index > 0) this.#acknowledges(member, m);
        break;
      default:
        break;
    }
  }

  #leads(member: CheckedMember, term: number): void {
    const known = this.#leaders.get(term);
    if (known === undefined) {
      this.#leaders.set(term, member.id);
      this.elections++;
    } else if (known !== member.id)
      this.#fail("one leader a term", `${member.name} leads in term ${term}, as another does`);
  }

  #votes_(member: CheckedMember, m: Message): void {
    const { hardState } = member.disk.durable;
    if (hardState === null || hardState.term < m.term || (hardState.term === m.term && hardState.vote !== m.to)) {
      this.#fail(
        "vote after durable",
        `${member.name} votes for ${m.to.toString(16)} in term ${m.term}; its log says otherwise`,
      );
    }
    const key = `${member.id}:${m.term}`;
    const known = this.#votes.get(key);
    this.#votes.set(key, m.to);
    if (known !== undefined && known !== m.to)
      this.#fail("one vote a term", `${member.name} votes twice in term ${m.term}`);
  }

  /**
   * What is acknowledged is durable here, or a later leader's entries have taken its place: both may be written by one
   * sync, after which the answer to the former leader is sent, too. It can do no harm then: that leader has lost, and
   * whoever wants this member's vote must have the later entries.
   */
  #acknowledges({ disk, name }: CheckedMember, m: Message): void {
    const { lastIndex, lastTerm } = disk.durable;
    if (m.index <= Math.max(lastIndex, disk.installedIndex) || m.term < lastTerm) return;
    const detail = `${name} acknowledges entry ${m.index} in term ${m.term}; its log ends at ${lastIndex} of ${lastTerm}`;
    this.#fail("acknowledge after durable", detail);
  }
}
