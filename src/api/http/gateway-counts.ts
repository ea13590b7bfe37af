/**
 * Counts the gateway's calls as the edge counts those of its connections: in etcd they are gRPC calls like any other.
 * Main adds them to the edge's numbers, which have the same layout (`edgeCounters`).
 */
import type { GrpcCode } from "../../errors/index.js";
import { type ClientVersionCount, edgeCounters, edgeHandlingBounds } from "../../native/index.js";
import type { CallCounter } from "./call-client.js";

/** Different versions that are told apart, as in the edge. */
const versionsMax = 32;
const versionLengthMax = 64;

/** What main is told. */
export interface GatewayCounts {
  readonly numbers: Float64Array;
  readonly versions: readonly ClientVersionCount[];
}

export class GatewayCounter implements CallCounter {
  readonly #numbers: Float64Array;
  readonly #versions = new Map<string, { unary: number; stream: number }>();
  readonly #totals: number;

  constructor(methods: number) {
    this.#totals = methods * edgeCounters.perMethod;
    this.#numbers = new Float64Array(this.#totals + edgeCounters.totals);
  }

  /** All counts since the start. */
  get counts(): GatewayCounts {
    const versions = [...this.#versions].map(([version, count]) => ({ version, ...count }));
    return { numbers: this.#numbers, versions };
  }

  started(method: number, isStream: boolean, version = "unknown"): void {
    this.#add(method, edgeCounters.started);
    const isKnown = this.#versions.has(version);
    const isFull = this.#versions.size >= versionsMax || version.length > versionLengthMax;
    const key = !isKnown && isFull ? "other" : version;
    let count = this.#versions.get(key);
    if (count === undefined) this.#versions.set(key, (count = { unary: 0, stream: 0 }));
    if (isStream) count.stream++;
    else count.unary++;
  }

  received(method: number, bytes: number): void {
    this.#add(method, edgeCounters.messagesReceived);
    this.#numbers[this.#totals + edgeCounters.total.bytesReceived]! += bytes;
  }

  sent(method: number, bytes: number): void {
    this.#add(method, edgeCounters.messagesSent);
    this.#numbers[this.#totals + edgeCounters.total.bytesSent]! += bytes;
  }

  ended(method: number, code: GrpcCode, seconds: number): void {
    this.#add(method, edgeCounters.ended + code);
    let bucket = 0;
    while (bucket < edgeHandlingBounds.length && seconds > edgeHandlingBounds[bucket]!) bucket++;
    this.#add(method, edgeCounters.handling + bucket);
    this.#numbers[method * edgeCounters.perMethod + edgeCounters.handlingMicroseconds]! += seconds * 1e6;
  }

  #add(method: number, what: number): void {
    this.#numbers[method * edgeCounters.perMethod + what]!++;
  }
}
