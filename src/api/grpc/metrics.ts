/**
 * gRPC's metrics, counted by the edge, and by the gateway for its calls, and read when they are asked for. As in etcd
 * every method that is served has its series from the start, at 0.
 */
import { GrpcCode, grpcCodeNames } from "../../errors/index.js";
import { registry } from "../../metrics/index.js";
import { edgeCounters, edgeHandlingBounds, type Edge } from "../../native/index.js";
import type { GatewayCounts } from "../http/index.js";
import { servedMethods } from "./methods.js";

const codes = Object.values(GrpcCode).filter((code) => typeof code === "number");

/** grpc_type as Go's middleware names it. */
function grpcType(method: { clientStreams: boolean; serverStreams: boolean }): string {
  if (method.clientStreams) return method.serverStreams ? "bidi_stream" : "client_stream";
  return method.serverStreams ? "server_stream" : "unary";
}

export class GrpcMetrics {
  readonly #edge: Edge;
  readonly #counts: Float64Array;
  readonly #started = registry.counterVector("grpc_server_started_total");
  readonly #handled = registry.counterVector("grpc_server_handled_total");
  readonly #received = registry.counterVector("grpc_server_msg_received_total");
  readonly #sent = registry.counterVector("grpc_server_msg_sent_total");
  readonly #bytesReceived = registry.counter("etcd_network_client_grpc_received_bytes_total");
  readonly #bytesSent = registry.counter("etcd_network_client_grpc_sent_bytes_total");
  readonly #requests = registry.counterVector("etcd_server_client_requests_total");
  /** Null: they are not wanted. */
  readonly #times;
  /** What the gateway has counted, as it last said. */
  gateway: GatewayCounts = { numbers: new Float64Array(0), versions: [] };

  /** Adds the counts to this thread's registry; with `hasTimes` those of how long calls took, too. */
  constructor(edge: Edge, { hasTimes }: { hasTimes: boolean }) {
    this.#edge = edge;
    this.#counts = edge.counterBuffer();
    this.#times = hasTimes ? registry.histogramVector("grpc_server_handling_seconds") : null;
    registry.onCollect(() => this.#collect());
  }

  #collect(): void {
    const counts = this.#counts;
    this.#edge.counters(counts);
    this.gateway.numbers.forEach((count, i) => (counts[i]! += count));
    servedMethods.forEach((method, i) => {
      const labels = { grpc_type: grpcType(method), grpc_service: method.service, grpc_method: method.name };
      const at = i * edgeCounters.perMethod;
      this.#started.with(labels).value = counts[at + edgeCounters.started]!;
      this.#received.with(labels).value = counts[at + edgeCounters.messagesReceived]!;
      this.#sent.with(labels).value = counts[at + edgeCounters.messagesSent]!;
      for (const code of codes) {
        const ended = counts[at + edgeCounters.ended + code]!;
        this.#handled.with({ ...labels, grpc_code: grpcCodeNames[code]! }).value = ended;
      }
      const from = at + edgeCounters.handling;
      const buckets = counts.subarray(from, from + edgeHandlingBounds.length + 1);
      this.#times?.with(labels).load(buckets, counts[at + edgeCounters.handlingMicroseconds]! / 1e6);
    });
    const totals = servedMethods.length * edgeCounters.perMethod;
    this.#bytesReceived.value = counts[totals + edgeCounters.total.bytesReceived]!;
    this.#bytesSent.value = counts[totals + edgeCounters.total.bytesSent]!;
    this.#collectVersions();
  }

  #collectVersions(): void {
    this.#requests.clear();
    for (const { version, unary, stream } of [...this.#edge.clientVersions(), ...this.gateway.versions]) {
      if (unary > 0) this.#requests.with({ type: "unary", client_api_version: version }).inc(unary);
      if (stream > 0) this.#requests.with({ type: "stream", client_api_version: version }).inc(stream);
    }
  }
}
