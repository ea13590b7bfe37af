/** Lines of a bundle and of its sources. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { pathToFileURL } from "node:url";
import { findLine, lineTable, sourceStack, type LinePlace } from "./source-lines.js";

const folder = mkdtempSync(join(tmpdir(), "etcd-ts-lines-"));
after(() => rmSync(folder, { recursive: true }));

const at = (file: string, line: number): LinePlace => ({ file, line });
const places = [null, at("a.ts", 7), at("a.ts", 8), null, at("a.ts", 10), at("b.ts", 11), at("a.ts", 12)];

test("every line that has a place is found there, and one without counts to what stands before it", () => {
  const table = lineTable(places);
  for (const [i, place] of places.entries()) if (place !== null) assert.deepEqual(findLine(table, i + 1), place);
  assert.equal(findLine(table, 1), null);
  assert.deepEqual(findLine(table, 4), at("a.ts", 9));
  assert.equal(table.runs.length, 3 * 3);
});

test("a stack names the sources of a bundle, and other files as they are", () => {
  const bundle = join(folder, "x.js");
  writeFileSync(`${bundle}.lines`, JSON.stringify(lineTable(places)));
  const stack = [
    "Error: no file:1:2",
    `    at f (${pathToFileURL(bundle).href}:3:14)`,
    `    at ${bundle}:6:1`,
    "    at node:internal/main:1:2",
    "    at g (/other.js:5:6)",
  ];
  assert.deepEqual(sourceStack(stack.join("\n")).split("\n"), [
    "Error: no file:1:2",
    "    at f (a.ts:8)",
    "    at b.ts:11",
    "    at node:internal/main:1:2",
    "    at g (/other.js:5)",
  ]);
});
