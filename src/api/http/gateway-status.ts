/** What the gateway's answers have in common: statuses and headers, and errors as JSON. */
import { type EtcdError, GrpcCode } from "../../errors/index.js";
import { type HttpResponse, jsonType } from "./exchange.js";

/** HTTP's status for each gRPC code, by its number. */
export const httpStatuses = [
  200, 499, 500, 400, 504, 404, 409, 403, 429, 400, 409, 400, 501, 500, 503, 500, 401,
] as const;

/** The one header of the gRPC side that grpc-gateway passes on. */
export const metadataTypeHeader = ["Grpc-Metadata-Content-Type", "application/grpc"] as const;

/** A status as the gateway writes it. */
export function errorResponse({ code, message }: EtcdError): HttpResponse {
  const text = message === "" ? "" : `, "message":${JSON.stringify(message)}`;
  const headers: [string, string][] = [[...jsonType]];
  if (code === GrpcCode.Unauthenticated) headers.push(["WWW-Authenticate", message]);
  return { status: httpStatuses[code], headers, body: `{"code":${code}${text}}` };
}
