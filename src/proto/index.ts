/**
 * Protocol messages: codecs and descriptors generated from the .proto files beside this one into gen/.
 * For a message X: `interface X` (as read), `XInit` (as written, all optional), `newX`, `decodeX(bytes, start, end)`,
 * `mergeX`, `encodeX`, `sizeX`, `writeX(message, bytes, at)` and `XDescriptor`.
 * Invariants: a decoded message's bytes fields are views of the bytes it was read from; copy what outlives them.
 * Absent sub-messages and absent proto2 scalars are undefined; other absent scalars are zero, and zeros are not written.
 * Any thread.
 */
export * from "./gen/index.js";
export {
  type EnumDescriptor,
  type FieldDescriptor,
  type FieldType,
  type MessageDescriptor,
  type MethodDescriptor,
} from "./descriptor.js";
export { DeleteRangeScan, PutScan, RangeScan } from "./scan-kv.js";
export { validate, validatedDepth } from "./validate.js";
export {
  depthMax,
  emptyBytes,
  skipBytes,
  skipField,
  skipVarint,
  invalidWireFormat,
  ProtoError,
  sizeDelimited,
  sizeVarint,
  sizeVarint64,
  WireReader,
  WireType,
  writeBytes,
  writeVarint,
  writeVarint64,
} from "./wire.js";
