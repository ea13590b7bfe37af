/** v3electionpb.Election. */
import { ErrElectionLeaderMissing, ErrElectionNoLeader, ErrElectionNotLeader, EtcdError } from "../../errors/index.js";
import type {
  CampaignRequest,
  CampaignResponseInit,
  KeyValue,
  LeaderKey,
  LeaderRequest,
  LeaderResponseInit,
  ProclaimRequest,
  ProclaimResponseInit,
  ResignRequest,
  ResignResponseInit,
  ResponseHeader,
} from "../../proto/index.js";
import type { ConcurrencyClient } from "./client.js";
import {
  contenderOf,
  createRevisionOf,
  deleteIfCreatedAt,
  oldest,
  prefixEnd,
  prefixOf,
  putIfCreatedAt,
  rangeAnswer,
  stand,
} from "./requests.js";
import { isDelete, leaseOf, waitForOlder, watchError } from "./wait.js";

/** A key that its owner may change as long as it is the one created at `rev`. */
type Held = Pick<LeaderKey, "key" | "rev" | "lease">;

/** Resolves when the caller leads. One who stands already proclaims the value, and goes on waiting or leading. */
export async function campaign(
  client: ConcurrencyClient,
  { name, lease, value }: CampaignRequest,
): Promise<CampaignResponseInit> {
  const contender = contenderOf(name, await leaseOf(client, lease));
  const { prefix, key } = contender;
  const answer = await client.txn(stand(contender, value));
  const held: Held = { key, rev: createRevisionOf(answer), lease: contender.lease };
  if (!answer.succeeded) {
    const before = rangeAnswer(answer, 0).kvs[0]?.value ?? new Uint8Array(0);
    if (Buffer.compare(before, value) !== 0) await restate(client, held, value);
  }
  try {
    await waitForOlder(client, prefix, held.rev - 1);
  } catch (error) {
    // Whoever is gone must not be elected. What is told is why the wait failed.
    if (client.isGone) await giveUp(client, held).catch(() => {});
    throw error;
  }
  return { header: answer.header, leader: { name, ...held } };
}

/** Changes the value of one who leads. */
export async function proclaim(
  client: ConcurrencyClient,
  { leader, value }: ProclaimRequest,
): Promise<ProclaimResponseInit> {
  if (leader === undefined) throw new ErrElectionLeaderMissing();
  const { key, rev } = leader;
  return { header: await proclaimHeld(client, { key, rev, lease: await leaseOf(client, leader.lease) }, value) };
}

/** Ends a leadership, or a candidacy; of one that is over it changes nothing. */
export async function resign(client: ConcurrencyClient, { leader }: ResignRequest): Promise<ResignResponseInit> {
  if (leader === undefined) throw new ErrElectionLeaderMissing();
  await leaseOf(client, leader.lease);
  return { header: await giveUp(client, leader) };
}

/** Who leads now. */
export async function leader(client: ConcurrencyClient, { name }: LeaderRequest): Promise<LeaderResponseInit> {
  const { header, kvs } = await client.range(oldest(prefixOf(name)));
  const kv = kvs[0];
  if (kv === undefined) throw new ErrElectionNoLeader();
  return { header, kv };
}

/**
 * Who leads, now and from now on, and what each proclaims. As in etcd it ends without an error when a read or a watch
 * fails.
 */
export async function* observe(client: ConcurrencyClient, { name }: LeaderRequest): AsyncGenerator<LeaderResponseInit> {
  const prefix = prefixOf(name);
  try {
    while (!client.isGone) {
      const elected = await currentOrNext(client, prefix);
      if (elected === undefined) return;
      yield elected;
      const watch = client.watch({ key: elected.kv.key, startRevision: (elected.header?.revision ?? 0) + 1 });
      if (!(yield* proclaimed(watch))) return;
    }
  } catch (error) {
    if (!(error instanceof EtcdError)) throw error;
  }
}

interface Elected {
  readonly header: ResponseHeader | undefined;
  readonly kv: KeyValue;
}

/** The leader, or else the first to come; undefined: the watch has ended. */
async function currentOrNext(client: ConcurrencyClient, prefix: Uint8Array): Promise<Elected | undefined> {
  const { header, kvs } = await client.range(oldest(prefix));
  if (kvs[0] !== undefined) return { header, kv: kvs[0] };
  const startRevision = header?.revision ?? 0;
  for await (const response of client.watch({ key: prefix, rangeEnd: prefixEnd(prefix), startRevision })) {
    if (watchError(response) !== undefined) return undefined;
    const kv = response.events.find((event) => !isDelete(event))?.kv;
    // One response may tell of several puts; the watch of this leader starts behind its own.
    if (kv !== undefined) return { header: response.header && { ...response.header, revision: kv.modRevision }, kv };
  }
  return undefined;
}

/** What the leader proclaims. True: it leads no longer; false: the watch has ended. */
async function* proclaimed(watch: ReturnType<ConcurrencyClient["watch"]>): AsyncGenerator<LeaderResponseInit, boolean> {
  for await (const { header, events } of watch) {
    for (const event of events) {
      if (isDelete(event)) return true;
      yield { header, kv: event.kv };
    }
  }
  return false;
}

/** A candidate's new value; one that cannot be told is no candidate any more. */
async function restate(client: ConcurrencyClient, held: Held, value: Uint8Array): Promise<void> {
  try {
    await proclaimHeld(client, held, value);
  } catch (error) {
    if (!(error instanceof ErrElectionNotLeader)) await giveUp(client, held).catch(() => {});
    throw error;
  }
}

async function proclaimHeld(
  client: ConcurrencyClient,
  { key, rev, lease }: Held,
  value: Uint8Array,
): Promise<ResponseHeader | undefined> {
  const { succeeded, header } = await client.txn(putIfCreatedAt(rev, { key, value, lease }));
  if (!succeeded) throw new ErrElectionNotLeader();
  return header;
}

async function giveUp(client: ConcurrencyClient, { key, rev }: Held): Promise<ResponseHeader | undefined> {
  return (await client.txn(deleteIfCreatedAt(rev, key))).header;
}
