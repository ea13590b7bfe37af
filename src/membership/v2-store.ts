/**
 * The members as etcd's store of old (v2store) writes itself, as JSON: what goes into a raft snapshot's data. A member
 * of etcd 3.7 takes everything from the database that comes with it; older ones read this, and end by a panic where it
 * is not a store. The watchers' history, which etcd adds, is left out: whoever reads it begins with none.
 */
import { memberIdText, type Member } from "./member.js";
import { formatAttributes, formatRaftAttributes } from "./member-json.js";

interface Node {
  readonly Path: string;
  readonly CreatedIndex: number;
  readonly ModifiedIndex: number;
  readonly ExpireTime: string;
  readonly Value: string;
  readonly Children: Readonly<Record<string, Node>> | null;
}

export interface V2StoreContent {
  readonly members: readonly Member[];
  readonly removed: readonly bigint[];
  /** "3.7.0"; null before there is one. */
  readonly clusterVersion: string | null;
}

/** What etcd's store writes for "never". */
const permanent = "0001-01-01T00:00:00Z";
/** v2store's format. */
const formatVersion = 2;

export function formatV2Store({ members, removed, clusterVersion }: V2StoreContent): Uint8Array {
  let index = 0;
  const valueNode = (Path: string, Value: string): Node => {
    index++;
    return { Path, CreatedIndex: index, ModifiedIndex: index, ExpireTime: permanent, Value, Children: null };
  };
  const folder = (Path: string, children: readonly Node[]): Node => {
    const Children = Object.fromEntries(
      children.map((child) => [child.Path.slice(child.Path.lastIndexOf("/") + 1), child]),
    );
    return { Path, CreatedIndex: index, ModifiedIndex: index, ExpireTime: permanent, Value: "", Children };
  };
  const memberNode = (member: Member): Node => {
    const path = `/0/members/${memberIdText(member.id)}`;
    const nodes = [valueNode(`${path}/raftAttributes`, formatRaftAttributes(member))];
    if (member.clientURLs.length > 0) nodes.push(valueNode(`${path}/attributes`, formatAttributes(member)));
    return folder(path, nodes);
  };
  const cluster: Node[] = [];
  // What is empty is not there, as in a store in which nothing was made.
  if (members.length > 0) cluster.push(folder("/0/members", members.map(memberNode)));
  if (removed.length > 0) {
    const marks = removed.map((id) => valueNode(`/0/removed_members/${memberIdText(id)}`, ""));
    cluster.push(folder("/0/removed_members", marks));
  }
  if (clusterVersion !== null) cluster.push(valueNode("/0/version", clusterVersion));
  const Root = folder("/", [folder("/0", cluster), folder("/1", [])]);
  return new TextEncoder().encode(JSON.stringify({ Root, CurrentIndex: index, CurrentVersion: formatVersion }));
}
