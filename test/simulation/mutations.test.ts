import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { compiledPath } from "./mutation.js";
import { mutations } from "./mutations.js";

test("every mutation still finds its place in the server, once", () => {
  const lost: string[] = [];
  for (const { name, edits } of mutations) {
    for (const each of edits) {
      const { file, find } = each;
      const text = readFileSync(fileURLToPath(new URL(`../../${compiledPath(each)}`, import.meta.url)), "utf8");
      if (text.split(find).length !== 2) lost.push(`${name}: ${file} does not hold exactly once: ${find}`);
    }
  }
  assert.deepEqual(lost, []);
});
