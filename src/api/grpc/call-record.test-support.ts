/** For tests of what takes the edge's calls: their records. */
import { callHeaderBytes, CallKind } from "../../native/index.js";

/** The record of a call with its whole request, a batch of its own. */
export function callRecord(callId: number, message: Uint8Array, method: number): Uint8Array {
  const bytes = new Uint8Array((callHeaderBytes + message.length + 7) & ~7);
  const view = new DataView(bytes.buffer);
  for (const [i, word] of [bytes.length, callId, CallKind.Call | (method << 16), message.length].entries())
    view.setUint32(4 * i, word, true);
  bytes.set(message, callHeaderBytes);
  return bytes;
}
