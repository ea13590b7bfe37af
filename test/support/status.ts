/** What a member says about itself, for tests that must wait until it has settled. */
import { setTimeout as delay } from "node:timers/promises";
import { GrpcClient } from "./grpc.js";
import { decodeMessage, encodeMessage, type JsonObject } from "./proto.js";

const settlePollMs = 20;
const settleMsMax = 15_000;

/** The answer of Maintenance.Status in plain form; empty when there was none. */
export const readStatus = async (port: number): Promise<JsonObject> => {
  const client = new GrpcClient(port);
  try {
    const reply = await client.unary(
      "/etcdserverpb.Maintenance/Status",
      encodeMessage("etcdserverpb.StatusRequest", {}),
    );
    return reply.status === 0 && reply.messages[0] !== undefined
      ? decodeMessage("etcdserverpb.StatusResponse", reply.messages[0]).plain
      : {};
  } finally {
    client.close();
  }
};

/** The storage version follows the cluster version a moment after the member serves; no event tells of it. */
export const waitForStorageVersion = async (port: number): Promise<void> => {
  for (let waitedMs = 0; waitedMs < settleMsMax; waitedMs += settlePollMs) {
    const { storageVersion } = await readStatus(port);
    if (typeof storageVersion === "string" && storageVersion.startsWith("3.7.")) return;
    await delay(settlePollMs);
  }
  throw new Error(`port ${port}: storage version not 3.7 within ${settleMsMax} ms`);
};
