/**
 * gRPC's metrics, counted by the edge and read when they are asked for.
 */
import { GrpcCode, grpcCodeNames } from "../../errors/index.js";
import { registry } from "../../metrics/index.js";
import { edgeCounters, type Edge } from "../../native/index.js";
import { servedMethods } from "./methods.js";

const codes = Object.values(GrpcCode).filter((code) => typeof code === "number");

/** grpc_type as Go's middleware names it. */
function grpcType(method: { clientStreams: boolean; serverStreams: boolean }): string {
  if (method.clientStreams) return method.serverStreams ? "bidi_stream" : "client_stream";
  return method.serverStreams ? "server_stream" : "unary";
}

/** Adds the edge's counts to this thread's registry. */
export function addGrpcMetrics(edge: Edge): void {
  const started = registry.counterVector("grpc_server_started_total");
  const handled = registry.counterVector("grpc_server_handled_total");
  const received = registry.counterVector("grpc_server_msg_received_total");
  const sent = registry.counterVector("grpc_server_msg_sent_total");
  const bytesReceived = registry.counter("etcd_network_client_grpc_received_bytes_total");
  const bytesSent = registry.counter("etcd_network_client_grpc_sent_bytes_total");
  const requests = registry.counterVector("etcd_server_client_requests_total");
  const counts = edge.counterBuffer();
  registry.onCollect(() => {
    edge.counters(counts);
    servedMethods.forEach((method, i) => {
      const labels = { grpc_type: grpcType(method), grpc_service: method.service, grpc_method: method.name };
      const at = i * edgeCounters.perMethod;
      started.with(labels).value = counts[at + edgeCounters.started]!;
      received.with(labels).value = counts[at + edgeCounters.messagesReceived]!;
      sent.with(labels).value = counts[at + edgeCounters.messagesSent]!;
      for (const code of codes) {
        const ended = counts[at + edgeCounters.ended + code]!;
        handled.with({ ...labels, grpc_code: grpcCodeNames[code]! }).value = ended;
      }
    });
    const totals = servedMethods.length * edgeCounters.perMethod;
    bytesReceived.value = counts[totals + edgeCounters.total.bytesReceived]!;
    bytesSent.value = counts[totals + edgeCounters.total.bytesSent]!;
    for (const { version, unary, stream } of edge.clientVersions()) {
      if (unary > 0) requests.with({ type: "unary", client_api_version: version }).value = unary;
      if (stream > 0) requests.with({ type: "stream", client_api_version: version }).value = stream;
    }
  });
}
