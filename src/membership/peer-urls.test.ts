/** Each case as a real etcd 3.7.1 answers MemberAdd; the conformance suite asks one again. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { parsePeerUrls } from "./peer-urls.js";

test("peer URLs are taken as Go's parser takes them, and sorted", () => {
  assert.deepEqual(parsePeerUrls(["http://b:2", " HTTP://a:1 "]), ["http://a:1", "http://b:2"]);
  assert.deepEqual(parsePeerUrls(["https://[::1]:2380"]), ["https://[::1]:2380"]);
  assert.deepEqual(parsePeerUrls(["http://:2380"]), ["http://:2380"]);
  assert.deepEqual(parsePeerUrls(["http://a:"]), ["http://a:"]);
  assert.deepEqual(parsePeerUrls(["http://u:p@a:1?q#f"]), ["http://u:p@a:1?q#f"]);
  assert.deepEqual(parsePeerUrls(["unix://a:1"]), ["unix://a:1"]);
  assert.deepEqual(parsePeerUrls(["unixs:///tmp/x y"]), ["unixs:///tmp/x%20y"]);
});

test("other texts are refused", () => {
  assert.equal(parsePeerUrls([]), null);
  const bad = [
    "",
    "a:1",
    "http://a",
    "http://a:1/",
    "http://a:1/x",
    "ftp://a:1",
    "http://a:b",
    "http://a:b:1",
    "//a:1",
  ];
  for (const url of [
    ...bad,
    "http:a:1",
    "http://a b:1",
    "http://a\n:1",
    "http://[::1:2",
    "http://a%20:1",
    "http://::1:2",
  ])
    assert.equal(parsePeerUrls(["http://ok:1", url]), null, url);
});
