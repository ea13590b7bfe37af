import assert from "node:assert/strict";
import { test } from "node:test";
import { formatV2Store } from "./v2-store.js";

const never = "0001-01-01T00:00:00Z";

function node(path: string, index: number, value: string): object {
  return { Path: path, CreatedIndex: index, ModifiedIndex: index, ExpireTime: never, Value: value, Children: null };
}

test("members, removed ones and the version lie where etcd's v2 store has them", () => {
  const voter = { id: 0x8e9en, name: "a<", peerURLs: ["http://a:1", "http://b:1"], clientURLs: ["http://a:2"] };
  const learner = { id: 0x77n, name: "", peerURLs: ["http://c:1"], clientURLs: [] };
  const bytes = formatV2Store({
    members: [
      { ...voter, isLearner: false },
      { ...learner, isLearner: true },
    ],
    removed: [0xabn],
    clusterVersion: "3.7.0",
  });
  const store = JSON.parse(Buffer.from(bytes).toString()) as Record<string, Record<string, Record<string, unknown>>>;
  assert.deepEqual([store["CurrentIndex"], store["CurrentVersion"]], [5, 2]);
  const children = store["Root"]!["Children"] as Record<string, { Children: Record<string, { Children: object }> }>;
  assert.deepEqual(Object.keys(children), ["0", "1"]);
  const cluster = children["0"]!.Children;
  assert.deepEqual(cluster["members"]!.Children, {
    "8e9e": {
      ...node("/0/members/8e9e", 2, ""),
      Children: {
        raftAttributes: node("/0/members/8e9e/raftAttributes", 1, '{"peerURLs":["http://a:1","http://b:1"]}'),
        attributes: node("/0/members/8e9e/attributes", 2, '{"name":"a\\u003c","clientURLs":["http://a:2"]}'),
      },
    },
    "77": {
      ...node("/0/members/77", 3, ""),
      Children: {
        raftAttributes: node("/0/members/77/raftAttributes", 3, '{"peerURLs":["http://c:1"],"isLearner":true}'),
      },
    },
  });
  assert.deepEqual(cluster["removed_members"]!.Children, { ab: node("/0/removed_members/ab", 4, "") });
  assert.deepEqual(cluster["version"], node("/0/version", 5, "3.7.0"));
});

test("a cluster that has none of it is an empty store", () => {
  const bytes = formatV2Store({ members: [], removed: [], clusterVersion: null });
  const { Root } = JSON.parse(Buffer.from(bytes).toString()) as { Root: { Children: Record<string, unknown> } };
  assert.deepEqual(Root.Children["0"], { ...node("/0", 0, ""), Children: {} });
});
