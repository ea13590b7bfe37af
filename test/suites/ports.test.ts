/** The ports that members under test are given. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { freePorts } from "../support/index.js";

test("callers who ask for ports at once get different ones", async () => {
  const given = await Promise.all(Array.from({ length: 20 }, () => freePorts(2)));
  assert.equal(new Set(given.flat()).size, 40);
});
