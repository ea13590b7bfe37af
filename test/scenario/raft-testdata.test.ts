/**
 * The transcripts by which go.etcd.io/raft is tested, replayed on this Raft. They are not part of the project:
 * the test looks for them beside it and is skipped where they are not there. Log lines are left out; messages,
 * Ready contents and states must be the same.
 */
import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { packageRoot } from "../support/index.js";
import { Interaction } from "./interaction.js";
import { ConfChangeReplay } from "./replay-conf-change.js";
import { replayQuorum } from "./replay-quorum.js";
import { parseTranscript, type Directive } from "./transcript.js";

const data = path.join(packageRoot, "..", "shared", "raft-testdata");
const skip = existsSync(data) ? false : `no transcripts in ${data}`;

/** The transcripts of a folder. */
function transcripts(folder: string): { name: string; directives: Directive[] }[] {
  if (skip !== false) return [];
  return readdirSync(path.join(data, folder))
    .sort()
    .map((name) => {
      const file = path.join(data, folder, name);
      return { name, directives: parseTranscript(name, readFileSync(file, "utf8")) };
    });
}

const logLine = /^\s*(DEBUG|INFO|WARN|ERROR|FATAL) /;

/** Output without log lines. A command without output prints "ok". */
function withoutLog(text: string): string[] {
  return text.split("\n").filter((line) => line !== "" && line !== "ok" && !logLine.test(line));
}

/** The result of a quorum command, which follows a chart for people. */
function lastLine(text: string): string {
  return text.split("\n").at(-1)!.replace("<empty majority quorum>", "");
}

function where(directive: Directive): string {
  return `${directive.file}:${directive.line}: ${directive.command}`;
}

for (const folder of ["quorum", "confchange", "interaction"]) {
  test(`${folder} transcripts of go.etcd.io/raft`, { skip }, async (t) => {
    const cases = transcripts(folder);
    assert.ok(cases.length > 0, `no transcripts in ${folder}`);
    for (const { name, directives } of cases) {
      await t.test(name, () => replay(folder, directives));
    }
  });
}

function replay(folder: string, directives: readonly Directive[]): void {
  assert.ok(directives.length > 0, "no directive was read");
  const confChange = new ConfChangeReplay();
  const interaction = new Interaction();
  for (const directive of directives) {
    switch (folder) {
      case "quorum":
        assert.equal(replayQuorum(directive), lastLine(directive.expected), where(directive));
        break;
      case "confchange":
        assert.equal(confChange.run(directive), directive.expected, where(directive));
        break;
      default:
        assert.deepEqual(interaction.run(directive), withoutLog(directive.expected), where(directive));
    }
  }
}

test("the replay notices a difference", () => {
  const wrong = parseTranscript("wrong", "committed cfg=(1,2,3) idx=(1,2,3)\n----\n3\n");
  assert.throws(() => replay("quorum", wrong));
  const changed = parseTranscript("changed", "simple\nv1\n----\nvoters=(2)\n");
  assert.throws(() => replay("confchange", changed));
  const text = "add-nodes 1 voters=(1) index=3\n----\n\ncampaign 1\n----\n\nraft-state\n----\n1: StateLeader\n";
  assert.throws(() => replay("interaction", parseTranscript("other", text)));
});
