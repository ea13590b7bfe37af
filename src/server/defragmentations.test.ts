/** Who is told of a defragmentation, and in which order. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Defragmentations, type DefragmentEvent } from "./defragmentations.js";

/** All that is heard of the events, in order. */
function heard(...events: readonly DefragmentEvent[]): string[] {
  const list: string[] = [];
  const defragmentations = new Defragmentations({
    answer: (callId, message) => list.push(`answer ${callId}, ${message.length} bytes`),
    error: (callId, { code, message }) => list.push(`error ${callId}: ${code} ${message}`),
    flush: () => list.push("flush"),
  });
  defragmentations.onChanged = (isActive) => list.push(isActive ? "active" : "idle");
  for (const event of events) defragmentations.told(event);
  return list;
}

test("a call is answered when everybody knows that its defragmentation has ended", () => {
  const list = heard({ type: "defragmenting" }, { type: "defragmented", callId: 7, failure: null });
  assert.deepEqual(list, ["active", "idle", "answer 7, 0 bytes", "flush"]);
});

test("one that fails has ended, too, and the next one begins", () => {
  const list = heard(
    { type: "defragmenting" },
    { type: "defragmented", callId: 7, failure: "no space" },
    { type: "defragmenting" },
  );
  assert.deepEqual(list, ["active", "idle", "error 7: 2 no space", "flush", "active"]);
});
