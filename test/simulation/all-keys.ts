/**
 * In the end one member is asked for all keys, which must be those of the oracle: what every member has wrong alike is
 * equal state, and nobody need have read or watched it.
 */
import { decodeRangeResponse, encodeRangeRequest } from "../../src/proto/index.js";
import type { SimulatedMember } from "./member.js";
import { describeRange } from "./oracle.js";
import { callUnary } from "./streams.js";
import type { World } from "./world.js";

const timeoutMs = 3000;
const againMs = 50;

/** Asks the members in turn until one answers, which is checked; `done` hears of that. */
export function checkAllKeys(world: World, members: readonly SimulatedMember[], done: () => void): void {
  const [member, ...others] = members;
  if (member === undefined) return done();
  const everything = new Uint8Array(1);
  const message = encodeRangeRequest({ key: everything, rangeEnd: everything });
  callUnary(world, member, { kind: "read", field: 0, message, timeoutMs }, ({ reply }) => {
    if (reply?.code !== 0) {
      world.timeline.after(againMs, () => checkAllKeys(world, [...others, member], done));
      return;
    }
    const shown = describeRange(decodeRangeResponse(reply.message));
    const expected = world.checker.oracle.all();
    if (shown !== expected)
      world.fail("the keys are those of the log", `${member.name}: ${differenceOf(shown, expected)}`);
    done();
  });
}

/** Both from where they differ, not much of it. */
function differenceOf(shown: string, expected: string): string {
  let at = 0;
  while (shown[at] === expected[at]) at++;
  const part = (text: string): string => text.slice(Math.max(0, at - 40), at + 80);
  return `${part(shown)}, not ${part(expected)}`;
}
