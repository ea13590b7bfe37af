/** v3lockpb.Lock. */
import { ErrMutexSessionExpired } from "../../errors/index.js";
import type { LockRequest, LockResponseInit, UnlockRequest, UnlockResponseInit } from "../../proto/index.js";
import type { ConcurrencyClient } from "./client.js";
import { acquire, contenderOf, createRevisionOf, rangeAnswer } from "./requests.js";
import { leaseOf, waitForOlder } from "./wait.js";

/** Resolves when the caller holds the lock. A lease that holds it already gets it again. */
export async function lock(client: ConcurrencyClient, { name, lease }: LockRequest): Promise<LockResponseInit> {
  const contender = contenderOf(name, await leaseOf(client, lease));
  const { prefix, key } = contender;
  const acquired = await client.txn(acquire(contender));
  const revision = createRevisionOf(acquired);
  const owner = rangeAnswer(acquired, 1).kvs[0];
  if (owner === undefined || owner.createRevision === revision) return { header: acquired.header, key };
  const own = await releasingOnError(client, key, async () => {
    await waitForOlder(client, prefix, revision - 1);
    return client.range({ key });
  });
  // The lease has ended while it waited, or somebody has unlocked for it.
  if (own.kvs.length === 0) throw new ErrMutexSessionExpired();
  return { header: own.header, key };
}

/** Gives a lock back, or a place among those who wait; a key that is not there is none's. */
export async function unlock(client: ConcurrencyClient, { key }: UnlockRequest): Promise<UnlockResponseInit> {
  const { header } = await client.deleteRange({ key });
  return { header };
}

/** Whoever does not wait any longer must not keep others waiting. */
async function releasingOnError<T>(client: ConcurrencyClient, key: Uint8Array, wait: () => Promise<T>): Promise<T> {
  try {
    return await wait();
  } catch (error) {
    // What is told is why the wait failed; a key that cannot be deleted goes with its lease.
    await client.deleteRange({ key }).catch(() => {});
    throw error;
  }
}
