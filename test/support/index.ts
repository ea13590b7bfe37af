/**
 * What tests that cross folders stand on: the real etcd, member processes, raw clients, chance.
 * Nothing under src/ may import this.
 */
export {
  apiserverTests,
  etcdBinaries,
  etcdVersion,
  goProgram,
  type CacheResult,
  type EtcdBinaries,
} from "./etcd-cache.js";
export { callAt, callOn } from "./call.js";
export { frame, GrpcClient, unframe, type GrpcReply, type RawCall } from "./grpc.js";
export { GrpcStream } from "./grpc-stream.js";
export { HttpClient, type HttpReply, type HttpRequest } from "./http.js";
export { LineStream, type LineRequest } from "./line-stream.js";
export {
  freePorts,
  Member,
  optionsAlike,
  ourCommand,
  temporaryFolder,
  type Exit,
  type MemberOptions,
} from "./member.js";
export { metricBecomes, readMetric } from "./metric.js";
export { packageRoot } from "./package-root.js";
export {
  errorCodes,
  FrameFlag,
  FrameKind,
  hpackField,
  hpackString,
  rawFrame,
  RawHttp2,
  requestBlock,
  setting,
  uint32,
  type RawFrame,
} from "./raw-http2.js";
export { pythonWith, type PythonResult } from "./python-cache.js";
export { chooseSeed, Prng } from "./prng.js";
export {
  base64,
  decodeMessage,
  encodeMessage,
  isJsonList,
  isJsonObject,
  rpcTypes,
  type Decoded,
  type Json,
  type JsonObject,
} from "./proto.js";
export { readStatus, waitForStorageVersion } from "./status.js";
export { hasStrace, TracedMember, type SystemCall } from "./strace.js";
