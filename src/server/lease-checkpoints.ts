/**
 * The leader's checkpoints: what is left of long leases, told to all members through the log, so that the next leader
 * does not begin their whole time anew; and the checkpoint of 0 by which a renewal gives a lease its whole time back
 * before its client hears of it.
 *
 * Only `--feature-gates=LeaseCheckpoint=true` writes the former. The latter is written in any case: a lease may have a
 * checkpoint of another leader, and must not end early because this one writes none. (etcd renews such a lease only for
 * what the checkpoint has left of it.)
 *
 * Thread: main. Bound: one entry a tick, of at most `batchMax` leases (etcd: 1,000 an entry).
 */
import { signedLeaseIdOf, type LeaseClock } from "../lease/index.js";
import { encodeLeaseCheckpointRequest } from "../proto/index.js";

const batchMax = 1_000;
/** InternalRaftRequest.lease_checkpoint. */
const checkpointField = 11;

interface LeaseCheckpointsActions {
  /** Gathers a proposal of the server's own; `flush` sends what has gathered. */
  propose(field: number, message: Uint8Array): void;
  flush(): void;
}

interface Checkpoint {
  readonly ID: bigint;
  readonly remainingTTL: number;
}

export class LeaseCheckpoints {
  readonly #clock: LeaseClock;
  readonly #actions: LeaseCheckpointsActions;

  constructor(clock: LeaseClock, actions: LeaseCheckpointsActions) {
    this.#clock = clock;
    this.#actions = actions;
  }

  /** Proposes what is due; only for a member that is found leading in this very turn. */
  tick(): void {
    const checkpoints: Checkpoint[] = [];
    this.#clock.takeLateClears(batchMax, (low, high) =>
      checkpoints.push({ ID: signedLeaseIdOf(low, high), remainingTTL: 0 }),
    );
    // As long as many are on their way, the log has enough of them.
    if (this.#clock.checkpointsUnderWay < batchMax || this.#clock.areCheckpointsLate) {
      this.#clock.takeCheckpoints(batchMax - checkpoints.length, (low, high, remainingTTL) =>
        checkpoints.push({ ID: signedLeaseIdOf(low, high), remainingTTL }),
      );
    }
    this.#propose(checkpoints);
  }

  /** A lease that is to be renewed has less than its whole time in the log: proposes to change that, unless it is. */
  clear(low: number, high: number): void {
    if (this.#clock.beginClear(low, high)) this.#propose([{ ID: signedLeaseIdOf(low, high), remainingTTL: 0 }]);
  }

  #propose(checkpoints: readonly Checkpoint[]): void {
    if (checkpoints.length === 0) return;
    this.#actions.propose(checkpointField, encodeLeaseCheckpointRequest({ checkpoints }));
    this.#actions.flush();
  }
}
