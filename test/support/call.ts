/** Calls that must succeed, for tests that are about something else. */
import assert from "node:assert/strict";
import { GrpcClient } from "./grpc.js";
import { decodeMessage, encodeMessage, rpcTypes, type JsonObject } from "./proto.js";

/** The answer, in plain form, of a method of etcd's own such as "KV/Put". */
export const callOn = async (client: GrpcClient, path: string, request: JsonObject): Promise<JsonObject> => {
  const [service = "", method = ""] = path.split("/");
  const types = rpcTypes(`etcdserverpb.${service}`, method);
  const reply = await client.unary(`/etcdserverpb.${path}`, encodeMessage(types.request, request));
  assert.equal(reply.status, 0, `${path}: ${reply.message}`);
  return decodeMessage(types.response, reply.messages[0]!).plain;
};

/** The same on a connection of its own to `port`. */
export const callAt = async (port: number, path: string, request: JsonObject): Promise<JsonObject> => {
  const client = new GrpcClient(port);
  try {
    return await callOn(client, path, request);
  } finally {
    client.close();
  }
};
