/** What is wrong with an alarm request that parses. */
import { EtcdError, GrpcCode } from "../../errors/index.js";
import { decodeAlarmRequest } from "../../proto/index.js";

const alarmActionMax = 2;

/** An unknown action crashes an etcd member, so none is ever proposed. */
export function checkAlarm(bytes: Uint8Array, start: number, end: number): EtcdError | undefined {
  const { action } = decodeAlarmRequest(bytes, start, end);
  if (action >= 0 && action <= alarmActionMax) return undefined;
  return new EtcdError(GrpcCode.InvalidArgument, "etcdserver: unknown alarm action");
}
