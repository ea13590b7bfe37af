/**
 * Runs the commands of an interaction transcript on a group of members, and tells what happened in the
 * transcript's notation, without log lines.
 */
import { EntryBatch, EntryType } from "../../src/base/index.js";
import {
  ConfChangeTransition,
  localAppendThread,
  localApplyThread,
  message,
  MessageType,
  roleNames,
  type Message,
  type RawNodeConfig,
  type StepResult,
} from "../../src/raft/index.js";
import { encodeConfChangeV1, encodeConfChangeV2, parseChanges } from "./conf-change-text.js";
import {
  describeEntries,
  describeMessage,
  describeProgress,
  describeReady,
  messageTypeOf,
  messagesOf,
} from "./describe.js";
import { electionTicks, emptyStart, heartbeatTicks, Member } from "./member.js";
import { numbersOf, valuesOf, type Directive } from "./transcript.js";

/** etcd's texts for refused messages and proposals. */
function errorText(result: StepResult): string[] {
  switch (result) {
    case "ok":
      return [];
    case "unknownPeer":
      return ["raft: cannot step as peer not found"];
    case "localMessage":
      return ["raft: cannot step raft local message"];
    case "noLeader":
    case "notMember":
    case "leaderTransfer":
    case "uncommittedLimit":
    case "forwardingDisabled":
      return ["raft proposal dropped"];
    default:
      return [result];
  }
}

interface Recipient {
  readonly id: bigint;
  readonly drop: boolean;
}

export class Interaction {
  readonly #members: Member[] = [];
  /** Messages on their way, in the order sent. */
  #inFlight: Message[] = [];
  #quiet = false;

  /** Runs one command; returns its output's lines. */
  run(directive: Directive): string[] {
    const quietBefore = this.#quiet;
    if (directive.command === "log-level") {
      this.#quiet = directive.args[0]!.key.toLowerCase() === "none";
      return [];
    }
    const level = valuesOf(directive, "log-level")[0];
    if (level !== undefined) this.#quiet = level.toLowerCase() === "none";
    const { output, error } = this.#execute(directive);
    const lines = this.#quiet ? error : [...output, ...error];
    this.#quiet = quietBefore;
    return lines;
  }

  #execute(directive: Directive): { output: string[]; error: string[] } {
    if (directive.command === "propose") return { output: [], error: errorText(this.#propose(directive)) };
    if (directive.command === "propose-conf-change") {
      return { output: [], error: errorText(this.#proposeConfChange(directive)) };
    }
    return { output: this.#command(directive), error: [] };
  }

  #command(directive: Directive): string[] {
    const numbers = numbersOf(directive);
    const first = (): Member => this.#members[numbers[0]! - 1]!;
    switch (directive.command) {
      case "add-nodes":
        return this.#addNodes(directive, numbers[0]!);
      case "campaign":
        first().node.campaign();
        return [];
      case "compact":
        first().compact(numbers[1]!);
        return raftLog(first());
      case "deliver-msgs":
        return this.#deliverCommand(directive, numbers);
      case "process-ready":
        return this.#each(numbers, "handling Ready", (member) => this.#processReady(member));
      case "process-append-thread":
        return this.#each(numbers, "processing append thread", (member) => this.#processAppend(member));
      case "process-apply-thread":
        return this.#each(numbers, "processing apply thread", (member) => this.#processApply(member));
      case "raft-log":
        return raftLog(first());
      case "raft-state":
        return this.#members.map(raftState);
      case "set-randomized-election-timeout":
        first().node.setRandomizedElectionTimeout(Number(valuesOf(directive, "timeout")[0]));
        return [];
      case "stabilize":
        return this.#stabilize(numbers.length > 0 ? numbers.map((n) => this.#members[n - 1]!) : this.#members);
      case "status":
        return describeProgress(first().node.status().progress);
      case "tick-election":
        for (let i = 0; i < electionTicks; i++) first().node.tick();
        return [];
      case "tick-heartbeat":
        for (let i = 0; i < heartbeatTicks; i++) first().node.tick();
        return [];
      case "transfer-leadership":
        this.#members[Number(valuesOf(directive, "from")[0]) - 1]!.node.transferLeader(
          BigInt(valuesOf(directive, "to")[0]!),
        );
        return [];
      case "forget-leader":
        first().node.forgetLeader();
        return [];
      case "send-snapshot":
        return this.#sendSnapshot(first(), BigInt(numbers[1]!));
      case "report-unreachable":
        first().node.reportUnreachable(BigInt(numbers[1]!));
        return [];
      default:
        throw new Error(`unknown command ${directive.command}`);
    }
  }

  #addNodes(directive: Directive, count: number): string[] {
    const ids = (key: string): bigint[] => valuesOf(directive, key).map(BigInt);
    const flag = (key: string): boolean => valuesOf(directive, key)[0] === "true";
    const index = Number(valuesOf(directive, "index")[0] ?? 0);
    const inflight = valuesOf(directive, "inflight")[0];
    const committedSize = valuesOf(directive, "max-committed-size-per-ready")[0];
    const config: Partial<RawNodeConfig> = {
      asyncStorageWrites: flag("async-storage-writes"),
      preVote: flag("prevote"),
      checkQuorum: flag("checkquorum"),
      disableConfChangeValidation: flag("disable-conf-change-validation"),
      stepDownOnRemoval: flag("step-down-on-removal"),
      readOnlyOption: valuesOf(directive, "read-only")[0] === "lease-based" ? "leaseBased" : "safe",
      ...(inflight === undefined ? {} : { maxInflightMessages: Number(inflight) }),
      ...(committedSize === undefined ? {} : { maxApplyingSize: Number(committedSize) }),
    };
    const confState = { ...emptyStart.confState, voters: ids("voters"), learners: ids("learners") };
    const data = new TextEncoder().encode(valuesOf(directive, "content")[0] ?? "");
    const start = index === 0 ? emptyStart : { index, term: 1, confState, data };
    for (let i = 0; i < count; i++) {
      this.#members.push(new Member(BigInt(this.#members.length + 1), { config, start }));
    }
    return [];
  }

  #propose(directive: Directive): StepResult {
    const member = this.#members[Number(directive.args[0]!.key) - 1]!;
    const data = new TextEncoder().encode(directive.args[1]!.key);
    return member.node.propose(EntryBatch.single({ term: 0, index: 0, type: EntryType.Normal, data }));
  }

  #proposeConfChange(directive: Directive): StepResult {
    const { node } = this.#members[Number(directive.args[0]!.key) - 1]!;
    const changes = parseChanges(directive.input);
    if (valuesOf(directive, "v1")[0] === "true") {
      return node.proposeConfChange(EntryType.ConfChange, encodeConfChangeV1(changes[0]!));
    }
    const transitions: Record<string, ConfChangeTransition> = {
      auto: ConfChangeTransition.Auto,
      implicit: ConfChangeTransition.JointImplicit,
      explicit: ConfChangeTransition.JointExplicit,
    };
    const transition = transitions[valuesOf(directive, "transition")[0] ?? "auto"]!;
    return node.proposeConfChange(EntryType.ConfChangeV2, encodeConfChangeV2({ transition, changes }));
  }

  /** Runs `work` for the numbered members; with several, each under its own heading. */
  #each(numbers: readonly number[], heading: string, work: (member: Member) => string[]): string[] {
    if (numbers.length === 1) return work(this.#members[numbers[0]! - 1]!);
    return numbers.flatMap((n) => [`> ${n} ${heading}`, ...indented(work(this.#members[n - 1]!))]);
  }

  #processReady(member: Member): string[] {
    const ready = member.node.ready();
    const lines = describeReady(ready);
    if (!member.async) {
      member.write(ready.entries, ready.snapshot);
      member.apply(ready.committed);
    }
    for (const m of messagesOf(ready)) {
      if (m.to === localAppendThread) member.appends.push(m);
      else if (m.to === localApplyThread) member.applies.push(m);
      else this.#inFlight.push(m);
    }
    if (!member.async) member.node.advance();
    return lines;
  }

  #processAppend(member: Member): string[] {
    const m = member.appends.shift();
    if (m === undefined) return ["no append work to perform"];
    return this.#processStorage(m, () => member.write(m.entries, m.snapshot));
  }

  #processApply(member: Member): string[] {
    const m = member.applies.shift();
    if (m === undefined) return ["no apply work to perform"];
    return this.#processStorage(m, () => member.apply(m.entries));
  }

  #processStorage(m: Message, work: () => void): string[] {
    work();
    this.#inFlight.push(...m.responses);
    const without = describeMessage({ ...m, responses: [] });
    return ["Processing:", ...without, "Responses:", ...m.responses.flatMap((response) => describeMessage(response))];
  }

  #deliverCommand(directive: Directive, numbers: readonly number[]): string[] {
    const recipients: Recipient[] = [];
    for (const n of numbers) recipients.push({ id: BigInt(n), drop: false });
    for (const id of valuesOf(directive, "drop")) recipients.push({ id: BigInt(id), drop: true });
    const name = valuesOf(directive, "type")[0];
    const type = name === undefined ? null : messageTypeOf(name);
    const lines = recipients.flatMap((recipient) => this.#deliver(recipient, type));
    return lines.length > 0 ? lines : ["no messages"];
  }

  #deliver(recipient: Recipient, type: MessageType | null): string[] {
    const chosen = this.#inFlight.filter((m) => isFor(m, recipient, type));
    this.#inFlight = this.#inFlight.filter((m) => !isFor(m, recipient, type));
    const lines: string[] = [];
    for (const m of chosen) {
      const [head, ...rest] = describeMessage(m);
      lines.push(recipient.drop ? `dropped: ${head!}` : head!, ...rest);
      if (recipient.drop) continue;
      const { node } = this.#members[Number(m.to) - 1]!;
      lines.push(...errorText(isLocal(m) ? node.stepStorageResponse(m) : node.step(m)));
    }
    return lines;
  }

  /** Works everything off, in rounds, until nothing is left to do. */
  #stabilize(members: readonly Member[]): string[] {
    const lines: string[] = [];
    const round = (heading: string, has: (member: Member) => boolean, work: (member: Member) => string[]): boolean => {
      let any = false;
      for (const member of members) {
        if (!has(member)) continue;
        any = true;
        lines.push(`> ${member.id} ${heading}`, ...indented(work(member)));
      }
      return any;
    };
    const whole = (queue: (member: Member) => readonly Message[], one: (member: Member) => string[]) => {
      return (member: Member): string[] => {
        const all: string[] = [];
        while (queue(member).length > 0) all.push(...one(member));
        return all;
      };
    };
    for (let busy = true; busy;) {
      const arrives = (member: Member): boolean => this.#inFlight.some((m) => m.to === member.id);
      const results = [
        round(
          "handling Ready",
          (member) => member.node.hasReady(),
          (member) => this.#processReady(member),
        ),
        round("receiving messages", arrives, (member) => this.#deliver({ id: member.id, drop: false }, null)),
        round(
          "processing append thread",
          (member) => member.appends.length > 0,
          whole(
            (member) => member.appends,
            (member) => this.#processAppend(member),
          ),
        ),
        round(
          "processing apply thread",
          (member) => member.applies.length > 0,
          whole(
            (member) => member.applies,
            (member) => this.#processApply(member),
          ),
        ),
      ];
      busy = results.includes(true);
    }
    return lines;
  }

  #sendSnapshot(from: Member, to: bigint): string[] {
    const m = message({
      type: MessageType.Snap,
      to,
      from: from.id,
      term: from.node.term,
      snapshot: from.snapshot,
    });
    this.#inFlight.push(m);
    return describeMessage(m);
  }
}

/** Messages between a member and its own storage, which are never lost. */
function isLocal(m: Message): boolean {
  return m.from === m.to || m.from === localAppendThread || m.from === localApplyThread;
}

function isFor(m: Message, recipient: Recipient, type: MessageType | null): boolean {
  if (m.to !== recipient.id || (type !== null && m.type !== type)) return false;
  return !(recipient.drop && isLocal(m));
}

function indented(lines: readonly string[]): string[] {
  return lines.map((line) => `  ${line}`);
}

function raftLog(member: Member): string[] {
  const { first, last } = member.range;
  if (last < first) return [`log is empty: first index=${first}, last index=${last}`];
  return describeEntries(member.disk);
}

function raftState({ node, id }: Member): string {
  const { voters, votersOutgoing } = node.confState;
  const voter = voters.includes(id) || votersOutgoing.includes(id) ? "(Voter)" : "(Non-Voter)";
  return `${id}: ${roleNames[node.role]} ${voter} Term:${node.term} Lead:${node.lead}`;
}
