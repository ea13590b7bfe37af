/** What locks and elections share: a lease to stand with, and the wait for older contenders to go. */
import { ErrContextCanceled, EtcdError, GrpcCode } from "../../errors/index.js";
import { EventType, type Event, type WatchResponse } from "../../proto/index.js";
import type { ConcurrencyClient } from "./client.js";
import { youngestUntil } from "./requests.js";

/** Of the lease that a caller gets who brings none; seconds. */
const sessionTtl = 60;

/** The caller's lease, or a new one; it is not renewed. */
export async function leaseOf(client: ConcurrencyClient, lease: bigint): Promise<bigint> {
  return lease === 0n ? (await client.grantLease({ TTL: sessionTtl })).ID : lease;
}

/** Resolves when no key of the prefix is left that was created at or before `maxCreateRevision`. */
export async function waitForOlder(
  client: ConcurrencyClient,
  prefix: Uint8Array,
  maxCreateRevision: number,
): Promise<void> {
  for (;;) {
    if (client.isGone) throw new ErrContextCanceled();
    const { kvs, header } = await client.range(youngestUntil(prefix, maxCreateRevision));
    const last = kvs[0];
    if (last === undefined) return;
    await waitForDelete(client, last.key, header?.revision ?? 0);
  }
}

async function waitForDelete(client: ConcurrencyClient, key: Uint8Array, startRevision: number): Promise<void> {
  for await (const response of client.watch({ key, startRevision })) {
    const error = watchError(response);
    if (error !== undefined) throw error;
    if (response.events.some(isDelete)) return;
  }
  throw new EtcdError(GrpcCode.Unknown, "lost watcher waiting for delete");
}

export function isDelete(event: Event): boolean {
  return event.type === EventType.DELETE;
}

/** Why the member has ended a watch, worded as Go's client does; undefined: it has not. */
export function watchError({ canceled, compactRevision, cancelReason }: WatchResponse): EtcdError | undefined {
  if (compactRevision !== 0)
    return new EtcdError(GrpcCode.Unknown, "etcdserver: mvcc: required revision has been compacted");
  if (!canceled) return undefined;
  if (cancelReason !== "") return new EtcdError(GrpcCode.Unknown, cancelReason);
  return new EtcdError(GrpcCode.Unknown, "etcdserver: mvcc: required revision is a future revision");
}
