/**
 * Whether all members hold equal data (etcd's corruption checks). Hashes of what is stored are compared:
 *
 * initial      --feature-gates=InitialCorruptCheck, once before a restarted member takes part: a difference ends the start;
 * periodic     --corrupt-check-time, by the leader: of all there is, its own a second time;
 * compactions  --feature-gates=CompactHashCheck and --compact-hash-check-time, by the leader: of what compactions have
 *              left, the newest that every member has.
 *
 * A difference raises CORRUPT for whom it points at, and for member 0 where no majority agrees. A hash of all there is
 * reads it all, in slices; so even a member alone finds out by it what has rotted on its disk.
 *
 * Thread: main. No clock of its own: the time comes with each tick.
 */
import type { Logger } from "../base/index.js";
import { printDuration } from "../config/index.js";
import { ErrClusterIdMismatch, ErrCompacted, ErrFutureRevision, EtcdError } from "../errors/index.js";
import { memberIdText, type Member } from "../membership/index.js";
import type { KeyValueHash } from "../storage/mvcc/index.js";
import type { Barriers } from "./barriers.js";
import type { ClusterView } from "./cluster-view.js";
import type { HashAnswer, PeerHash, Peers } from "./peers.js";

/** What this member's store hashes to. */
export interface MemberHashes {
  /** Up to the present revision. */
  hashNow(): Promise<PeerHash & KeyValueHash>;
  /** Those that compactions have left. */
  keptHashes(): Promise<readonly KeyValueHash[]>;
}

export interface CorruptionChecksOptions {
  readonly localId: bigint;
  readonly view: ClusterView;
  readonly peers: Pick<Peers, "hashKv">;
  readonly barriers: Pick<Barriers, "linearizable">;
  readonly hashes: MemberHashes;
  /** Between two checks, in milliseconds; 0: never. */
  readonly periodicMs: number;
  readonly compactionsMs: number;
  /** etcd's limit of a request, which others are given to answer. */
  readonly timeoutMs: number;
  readonly isLeader: () => boolean;
  /** Raises CORRUPT for a member; 0: nobody knows for which. */
  readonly raise: (memberId: bigint) => void;
  readonly logger: Logger;
}

/** What a refusal says of the other member at a start; others say nothing. */
const startWarnings: ReadonlyMap<unknown, string> = new Map([
  [ErrFutureRevision, "cannot fetch hash from slow remote peer"],
  [ErrCompacted, "cannot fetch hash from remote peer; local member is behind"],
  [ErrClusterIdMismatch, "cluster ID mismatch"],
]);

interface Asked {
  readonly member: Member;
  readonly answer: HashAnswer;
}

/** One of the checks that come again and again; the next is due so long after the last one's turn. */
interface Schedule {
  readonly everyMs: number;
  readonly check: () => Promise<void>;
  dueMs: number;
  isRunning: boolean;
}

export class CorruptionChecks {
  readonly #options: CorruptionChecksOptions;
  readonly #schedules: readonly Schedule[];
  /** All members had equal hashes of the compaction at this revision. */
  #checkedRevision = 0;

  constructor(options: CorruptionChecksOptions) {
    this.#options = options;
    const { compactionsMs, localId, logger, periodicMs } = options;
    const schedule = (everyMs: number, check: () => Promise<void>): Schedule => {
      return { everyMs, check, dueMs: -1, isRunning: false };
    };
    this.#schedules = [
      schedule(periodicMs, () => this.#periodicLogged()),
      schedule(compactionsMs, () => this.compactions()),
    ].filter(({ everyMs }) => everyMs > 0);
    if (periodicMs === 0) return;
    const interval = printDuration(periodicMs);
    logger.info("enabled corruption checking", { "local-member-id": memberIdText(localId), interval });
  }

  tick(nowMs: number): void {
    for (const schedule of this.#schedules) {
      const isDue = schedule.dueMs !== -1 && nowMs >= schedule.dueMs;
      if (schedule.dueMs === -1 || isDue) schedule.dueMs = nowMs + schedule.everyMs;
      if (!isDue || schedule.isRunning || !this.#options.isLeader()) continue;
      schedule.isRunning = true;
      void schedule.check().finally(() => (schedule.isRunning = false));
    }
  }

  /** Throws when another member has something else at the same revision, compacted to the same one. */
  async initial(): Promise<void> {
    const { hashes, localId, logger } = this.#options;
    logger.info("starting initial corruption check", this.#begin);
    const own = await hashes.hashNow();
    const asked = await this.#ask(own.revision);
    const different = asked.filter((each) => this.#differsAtStart(own, each));
    if (different.length > 0) throw new Error(`${memberIdText(localId)} found data inconsistency with peers`);
    logger.info("initial corruption checking passed; no corruption", { "local-member-id": memberIdText(localId) });
  }

  #differsAtStart(own: KeyValueHash, { member, answer }: Asked): boolean {
    const { localId, logger } = this.#options;
    if (answer === null) return false;
    const about = {
      "local-member-id": memberIdText(localId),
      "local-member-revision": own.revision,
      "local-member-compact-revision": own.compactRevision,
      "local-member-hash": own.hash,
      "remote-peer-id": memberIdText(member.id),
      "remote-peer-endpoints": member.peerURLs,
    };
    if (answer instanceof EtcdError) {
      const text = startWarnings.get(answer.constructor);
      if (text !== undefined) logger.warn(text, { ...about, error: answer.message });
      return false;
    }
    if (answer.hash === own.hash) return false;
    const isSame = answer.compactRevision === own.compactRevision;
    logger.warn(`found different ${isSame ? "hash" : "compact revision"} values from remote peer`, {
      ...about,
      "remote-peer-revision": answer.currentRevision,
      "remote-peer-compact-revision": answer.compactRevision,
      "remote-peer-hash": answer.hash,
    });
    return isSame;
  }

  async #periodicLogged(): Promise<void> {
    const late = await this.periodic();
    if (late !== null) this.#options.logger.warn("failed to check hash KV", { error: late.message });
  }

  /** One look at all there is; what it could not be finished for. */
  async periodic(): Promise<EtcdError | null> {
    const { barriers, hashes, localId, logger, raise } = this.#options;
    const own = await hashes.hashNow();
    const asked = await this.#ask(own.revision);
    const late = await new Promise<EtcdError | null>((resolve) => barriers.linearizable(resolve));
    if (late !== null) return late;
    const again = await hashes.hashNow();
    const found: bigint[] = [];
    const isSameState = again.revision === own.revision && again.compactRevision === own.compactRevision;
    if (isSameState && again.hash !== own.hash) {
      logger.warn("found hash mismatch", { ...numbered(own, 1), ...numbered(again, 2) });
      found.push(localId);
    }
    let checked = 0;
    for (const { member, answer } of asked) {
      if (answer === null || answer instanceof EtcdError) continue;
      checked++;
      if (this.#differsFrom(member, answer, own, again)) found.push(member.id);
    }
    // As in etcd, one alarm a look.
    if (found.length > 0) raise(found[0]!);
    logger.info("finished peer corruption check", { "number-of-peers-checked": checked });
    return null;
  }

  /** Nobody is ahead of the leader once it knows what was committed, and equal compactions leave equal data. */
  #differsFrom(member: Member, answer: PeerHash, own: KeyValueHash, again: PeerHash): boolean {
    const { logger } = this.#options;
    const peer = { "follower-peer-id": memberIdText(member.id) };
    const isAhead = answer.currentRevision > again.currentRevision;
    if (isAhead) {
      logger.warn("revision from follower must be less than or equal to leader's", {
        "leader-revision": again.currentRevision,
        "follower-revision": answer.currentRevision,
        ...peer,
      });
    }
    const compactRevisions = {
      "leader-compact-revision": again.compactRevision,
      "follower-compact-revision": answer.compactRevision,
    };
    const isCompactedFurther = answer.compactRevision > again.compactRevision;
    if (isCompactedFurther) {
      const text = "compact revision from follower must be less than or equal to leader's";
      logger.warn(text, { ...compactRevisions, ...peer });
    }
    const isDifferent = answer.compactRevision === own.compactRevision && answer.hash !== own.hash;
    if (isDifferent) {
      const both = { "leader-hash": own.hash, "follower-hash": answer.hash };
      logger.warn("same compact revision then hashes must match", { ...compactRevisions, ...both, ...peer });
    }
    return isAhead || isCompactedFurther || isDifferent;
  }

  /** The newest compaction that every member tells the hash of, or at which they differ. */
  async compactions(): Promise<void> {
    const { hashes, logger } = this.#options;
    logger.info("starting compact hash check", this.#begin);
    const kept = await hashes.keptHashes();
    const unchecked = kept
      .filter(({ revision }) => revision > this.#checkedRevision)
      .toSorted((a, b) => b.revision - a.revision);
    let count = 0;
    for (const own of unchecked) {
      count++;
      const asked = await this.#ask(own.revision);
      if (asked.length > 0 && this.#isSettled(own, asked)) break;
    }
    logger.info("finished compaction hash check", { "number-of-hashes-checked": count });
  }

  /** False: an older compaction is to be looked at. */
  #isSettled(own: KeyValueHash, asked: readonly Asked[]): boolean {
    const { localId, logger } = this.#options;
    const byHash = new Map([[own.hash, [localId]]]);
    let checked = 0;
    for (const { member, answer } of asked) {
      const reason = skipReason(answer, own);
      if (reason !== null || answer === null || answer instanceof EtcdError) {
        logger.warn("Skipped peer's hash", {
          "number-of-peers": asked.length,
          "leader-id": memberIdText(localId),
          "peer-id": memberIdText(member.id),
          reason,
        });
        continue;
      }
      checked++;
      byHash.set(answer.hash, [...(byHash.get(answer.hash) ?? []), member.id]);
    }
    if (byHash.size > 1) {
      this.#accuse(own, byHash, asked.length + 1);
      return true;
    }
    const isWhole = checked === asked.length;
    const about = { revision: own.revision, compactRevision: own.compactRevision };
    if (isWhole) {
      this.#checkedRevision = Math.max(this.#checkedRevision, own.revision);
      logger.info("successfully checked hash on whole cluster", { "number-of-peers-checked": checked, ...about });
    } else {
      const peers = { "number-of-peers-checked": checked, "number-of-peers": asked.length };
      logger.warn("skipped revision in compaction hash check; was not able to check all peers", { ...peers, ...about });
    }
    return isWhole;
  }

  /** Those outside a quorum of equal hashes are corrupt; without one nobody can tell who is. */
  #accuse(own: KeyValueHash, byHash: Map<number, bigint[]>, members: number): void {
    const { localId, logger, raise } = this.#options;
    const quorum = Math.floor(members / 2) + 1;
    const leader = {
      "leader-id": memberIdText(localId),
      "leader-revision": own.revision,
      "leader-compact-revision": own.compactRevision,
      "leader-hash": own.hash,
    };
    const agreed = [...byHash].find(([, ids]) => ids.length >= quorum);
    if (agreed === undefined) {
      logger.error(
        "Detected compaction hash mismatch but cannot identify the corrupted members, so intentionally set the memberID as 0",
        leader,
      );
      raise(0n);
    } else byHash.delete(agreed[0]);
    for (const [hash, ids] of byHash) {
      if (agreed !== undefined) for (const id of ids) raise(id);
      logger.error("Detected compaction hash mismatch", {
        ...leader,
        "peer-hash": hash,
        "peer-ids": ids.map(memberIdText).join(","),
        "quorum-exist": agreed !== undefined,
      });
    }
  }

  /** Every other member's hash up to the revision. */
  #ask(revision: number): Promise<readonly Asked[]> {
    const { localId, logger, peers, view } = this.#options;
    const others = view.others.filter(({ peerURLs }) => peerURLs.length > 0);
    return Promise.all(
      others.map(async (member) => {
        const answer = await new Promise<HashAnswer>((resolve) => peers.hashKv(member, revision, resolve));
        if (answer === null || answer instanceof EtcdError) {
          logger.warn("failed hash kv request", {
            "local-member-id": memberIdText(localId),
            "requested-revision": revision,
            "remote-peer-endpoint": member.peerURLs.join(","),
            error: answer?.message ?? "no answer",
          });
        }
        return { member, answer };
      }),
    );
  }

  /** What lines tell at the beginning of a check. */
  get #begin(): Readonly<Record<string, string>> {
    const { localId, timeoutMs } = this.#options;
    return { "local-member-id": memberIdText(localId), timeout: printDuration(timeoutMs) };
  }
}

function skipReason(answer: HashAnswer, own: KeyValueHash): string | null {
  if (answer === null || answer instanceof EtcdError) return "no response";
  if (answer.compactRevision === own.compactRevision) return null;
  return `the peer's CompactRevision ${answer.compactRevision} doesn't match leader's CompactRevision ${own.compactRevision}`;
}

function numbered({ revision, compactRevision, hash }: KeyValueHash, n: number): Readonly<Record<string, number>> {
  return { [`revision-${n}`]: revision, [`compact-revision-${n}`]: compactRevision, [`hash-${n}`]: hash };
}
