/**
 * The RPCs that are served, in the order of their method index. A method that is not here is answered by the
 * edge as grpc-go answers an unknown one: Unimplemented.
 */
import { type EtcdError, unmarshalMessageError, unmarshalRequestError } from "../../errors/index.js";
import { methods as allMethods, type MethodDescriptor } from "../../proto/index.js";

const handedOverPaths = [
  "/v3lockpb.Lock/Lock",
  "/v3lockpb.Lock/Unlock",
  "/v3electionpb.Election/Campaign",
  "/v3electionpb.Election/Proclaim",
  "/v3electionpb.Election/Leader",
  "/v3electionpb.Election/Observe",
  "/v3electionpb.Election/Resign",
] as const;

/** Path of an RPC that the HTTP thread serves. */
export type HandedOverPath = (typeof handedOverPaths)[number];

const servedPaths = [
  "/etcdserverpb.KV/Range",
  "/etcdserverpb.KV/Put",
  "/etcdserverpb.KV/DeleteRange",
  "/etcdserverpb.KV/Txn",
  "/etcdserverpb.KV/RangeStream",
  "/etcdserverpb.KV/Compact",
  "/etcdserverpb.Lease/LeaseGrant",
  "/etcdserverpb.Lease/LeaseRevoke",
  "/etcdserverpb.Lease/LeaseKeepAlive",
  "/etcdserverpb.Lease/LeaseTimeToLive",
  "/etcdserverpb.Lease/LeaseLeases",
  "/etcdserverpb.Maintenance/Alarm",
  "/etcdserverpb.Maintenance/Status",
  "/etcdserverpb.Maintenance/Hash",
  "/etcdserverpb.Maintenance/HashKV",
  "/etcdserverpb.Maintenance/Snapshot",
  "/etcdserverpb.Maintenance/Defragment",
  "/etcdserverpb.Maintenance/MoveLeader",
  "/etcdserverpb.Maintenance/Downgrade",
  "/etcdserverpb.Cluster/MemberList",
  "/etcdserverpb.Cluster/MemberAdd",
  "/etcdserverpb.Cluster/MemberRemove",
  "/etcdserverpb.Cluster/MemberUpdate",
  "/etcdserverpb.Cluster/MemberPromote",
  "/etcdserverpb.Watch/Watch",
  ...handedOverPaths,
  "/grpc.health.v1.Health/Check",
  "/grpc.health.v1.Health/List",
  "/grpc.health.v1.Health/Watch",
] as const;

/** Path of a served RPC. */
export type ServedPath = (typeof servedPaths)[number];

/** Served RPCs by method index. */
export const servedMethods: readonly MethodDescriptor[] = servedPaths.map((path) => {
  const found = allMethods.find((method) => method.path === path);
  if (found === undefined) throw new Error(`no .proto file describes ${path}`);
  return found;
});

/** Unary RPCs that may wait for as long as their clients do. */
export const blockingPaths: ReadonlySet<string> = new Set<ServedPath>([
  "/v3lockpb.Lock/Lock",
  "/v3electionpb.Election/Campaign",
]);

/** Index of `path` in the table. */
export function methodIndex(path: ServedPath): number {
  return servedPaths.indexOf(path);
}

/** The error of a message that cannot be parsed, for the reason `text`: grpc-go has other words for a stream's. */
export function unmarshalError(index: number, text: string): EtcdError {
  const { clientStreams, serverStreams } = servedMethods[index]!;
  return clientStreams || serverStreams ? unmarshalMessageError(text) : unmarshalRequestError(text);
}

/** Kinds of calls, as the edge knows them. */
export function methodKind(method: MethodDescriptor): 0 | 1 | 2 | 3 {
  if (method.clientStreams) return method.serverStreams ? 3 : 1;
  return method.serverStreams ? 2 : 0;
}
