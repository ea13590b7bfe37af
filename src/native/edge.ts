/**
 * The gRPC edge: its thread speaks HTTP/2 and gRPC; calls come from it as batches of records (call-batch.ts),
 * and replies go back as batches of records (reply-batch.ts).
 *
 * Invariants: a call's records come in order, and after its Cancel none. A reply to a call that is gone is
 * dropped. While calls wait undrained beyond a bound, no client is read.
 * Thread: `startEdge` and the Edge belong to one thread; the reply batches and `gatewaySubmit` are for any.
 */
import { addon } from "./addon.js";

/** How many messages a method takes and gives. */
export const MethodKind = { Unary: 0, ClientStream: 1, ServerStream: 2, Bidi: 3 } as const;
export type MethodKind = (typeof MethodKind)[keyof typeof MethodKind];

export interface EdgeMethod {
  /** "/etcdserverpb.KV/Put" */
  readonly path: string;
  readonly kind: MethodKind;
  /**
   * A unary call that may wait for other calls to happen, as Lock does. It does not count among the calls that
   * one connection may have in flight; beyond those, a connection's further calls wait in the edge.
   */
  readonly blocking?: boolean;
}

/** A TCP address, or a Unix socket by its path. Port 0 lets the system choose. */
export type EdgeAddress = { readonly host: string; readonly port: number } | { readonly path: string };

export interface EdgeOptions {
  readonly listeners: readonly EdgeAddress[];
  /** Further ones, whose connections all go to the Unix socket of an HTTP server. */
  readonly httpListeners?: readonly { readonly address: EdgeAddress; readonly socketPath: string }[];
  /** Other processes may listen on the same TCP ports (SO_REUSEPORT). False. */
  readonly reusePort?: boolean;
  /** Their order gives each its number in call records. */
  readonly methods: readonly EdgeMethod[];
  /** Bytes of one received message; a larger one is refused as gRPC does. */
  readonly receiveBytesMax: number;
  /** Streams a connection at once; 2^32 - 1: no limit is told to clients. */
  readonly maxConcurrentStreams: number;
  /** Unix socket of the HTTP server, which gets whatever is not HTTP/2; without one it is closed. */
  readonly httpSocketPath?: string;
  /** A unary call that takes so many milliseconds, or more, is told of by a Slow record; none is without this. */
  readonly slowAfterMs?: number;
  /**
   * File descriptors that clients may take together, three each for those of HTTP/1.1; further clients wait to be
   * accepted until others have gone. Infinity.
   */
  readonly descriptorsMax?: number;
  /** Times in milliseconds; the defaults are etcd's. */
  readonly keepalive?: {
    /** A client that pings more often than this is sent away. 5,000. */
    readonly minTimeMs?: number;
    /** Whether clients may ping at all without a call. False. */
    readonly permitWithoutStream?: boolean;
    /** A silent client is pinged after this. 7,200,000. */
    readonly intervalMs?: number;
    /** It must answer within this. 20,000. */
    readonly timeoutMs?: number;
  };
}

/** An address cannot be listened on; the message is worded as Go words it. */
export class EdgeListenError extends Error {
  override readonly name = "EdgeListenError";
  /** "EADDRINUSE", "EADDRNOTAVAIL", "EACCES" or "ELISTEN". */
  readonly code: string;

  constructor(code: string, message: string) {
    super(message);
    this.code = code;
  }
}

/** Calls of clients that sent the same `client-api-version`; "unknown" when they sent none. */
export interface ClientVersionCount {
  readonly version: string;
  readonly unary: number;
  readonly stream: number;
}

/** As declared in native/addon/src/edge.rs. */
interface EdgeDoor {
  readonly addresses: string[];
  drain(into: Uint8Array): number;
  counters(into: Float64Array): void;
  clientVersions(): ClientVersionCount[];
  close(graceMs: number): Promise<void>;
}
interface EdgeSettings {
  listeners: {
    host: string;
    port: number;
    path: string | null;
    shared: boolean;
    grpc: boolean;
    httpSocketPath: string | null;
  }[];
  methods: { path: string; kind: number; blocking: boolean }[];
  receiveBytesMax: number;
  maxConcurrentStreams: number;
  slowAfter: number;
  descriptorsMax: number;
  keepalive: { minTime: number; permitWithoutStream: boolean; interval: number; timeout: number };
  clockOffset: number;
}
interface Native {
  EdgeDoor: { start(settings: EdgeSettings, onWake: () => void): EdgeDoor };
  replyBatch(bytes: Uint8Array, length: number, isBulk: boolean): void;
  pendingReplyBytes(): number;
  gatewaySubmit(bytes: Uint8Array, length: number): boolean;
  setGatewayMailbox(handle: number | null): void;
  edgeCounterCounts(): [number, number];
}

// The addon is built from this tree, or published with this version.
const native = addon as Native;
const [perMethod, totals] = native.edgeCounterCounts();

/**
 * Where `counters` puts what. A method's numbers start at its index times `perMethod`, the totals after the
 * last method. `ended + code` counts the calls that ended with that gRPC status, `handling + i` those that took up to
 * `edgeHandlingBounds[i]` seconds and longer than the bound before.
 */
export const edgeCounters = {
  perMethod,
  totals,
  started: 0,
  messagesReceived: 1,
  messagesSent: 2,
  ended: 3,
  handling: 20,
  handlingMicroseconds: 32,
  total: { bytesReceived: 0, bytesSent: 1, connections: 2, calls: 3 },
} as const;

/** Upper bounds, in seconds, of the counts of how long calls took; one more count is for what took longer. */
export const edgeHandlingBounds = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10] as const;

/** A running edge. */
export class Edge {
  readonly #door: EdgeDoor;
  readonly #methods: number;

  constructor(door: EdgeDoor, methods: number) {
    this.#door = door;
    this.#methods = methods;
  }

  /** What the listeners are bound to, "127.0.0.1:2379", in the order of the options, those for HTTP alone last. */
  get addresses(): string[] {
    return this.#door.addresses;
  }

  /**
   * Copies whole call records into `into` and returns their bytes. 0: none is left, and the next one wakes
   * again; so call it until 0. Negative: nothing was copied, since the first record has so many bytes.
   */
  drain(into: Uint8Array): number {
    return this.#door.drain(into);
  }

  /** A buffer for `counters`. */
  counterBuffer(): Float64Array {
    return new Float64Array(this.#methods * perMethod + totals);
  }

  /** Fills `into` with all counts since the start; see `edgeCounters`. */
  counters(into: Float64Array): void {
    this.#door.counters(into);
  }

  /** Calls by the client's API version, in the order in which they were first seen; at most 33. */
  clientVersions(): ClientVersionCount[] {
    return this.#door.clientVersions();
  }

  /**
   * Stops listening, sends clients away (GOAWAY) and waits until their calls have ended, at most `graceMs`;
   * what is left then is cut off. Calls are still to be drained and answered until this resolves.
   */
  close(graceMs: number): Promise<void> {
    return this.#door.close(graceMs);
  }
}

/**
 * Opens the listeners and starts the edge's thread. `onWake` runs when calls wait that a `drain` has not seen.
 * Throws EdgeListenError. One edge at a time receives the replies: the one started last.
 */
export function startEdge(options: EdgeOptions, onWake: () => void): Edge {
  try {
    return new Edge(native.EdgeDoor.start(settingsOf(options), onWake), options.methods.length);
  } catch (error) {
    throw listenError(error);
  }
}

/** Sends the replies `bytes[0, length)`: to the edge, or those with the gateway's call IDs to its mailbox. */
export function replyBatch(bytes: Uint8Array, length: number): void {
  native.replyBatch(bytes, length, false);
}

/**
 * Likewise of what may be much: it goes out piece by piece between the other replies. All replies to a call that come
 * from one thread go the same way, so that none overtakes another.
 */
export function bulkReplyBatch(bytes: Uint8Array, length: number): void {
  native.replyBatch(bytes, length, true);
}

/** Reply bytes of all clients that they have not taken yet. For any thread. */
export const pendingReplyBytes: () => number = native.pendingReplyBytes;

/** Puts the gateway's call records `bytes[0, length)` among those that `drain` gives. False: no room now. */
export const gatewaySubmit: (bytes: Uint8Array, length: number) => boolean = native.gatewaySubmit;

/** Replies to the gateway's calls come into this mailbox, a batch a message; null ends that. */
export const setGatewayMailbox: (handle: number | null) => void = native.setGatewayMailbox;

function doorOf(address: EdgeAddress): { host: string; port: number; path: string | null } {
  return "path" in address ? { host: "", port: 0, path: address.path } : { ...address, path: null };
}

function settingsOf(options: EdgeOptions): EdgeSettings {
  const keepalive = options.keepalive ?? {};
  const { reusePort: shared = false, httpListeners = [], httpSocketPath = null } = options;
  return {
    listeners: [
      ...options.listeners.map((address) => ({ ...doorOf(address), shared, grpc: true, httpSocketPath })),
      ...httpListeners.map(({ address, socketPath }) => ({
        ...doorOf(address),
        shared,
        grpc: false,
        httpSocketPath: socketPath,
      })),
    ],
    methods: options.methods.map(({ path, kind, blocking }) => ({ path, kind, blocking: blocking ?? false })),
    receiveBytesMax: options.receiveBytesMax,
    maxConcurrentStreams: options.maxConcurrentStreams,
    slowAfter: options.slowAfterMs ?? Infinity,
    descriptorsMax: options.descriptorsMax ?? Infinity,
    keepalive: {
      minTime: keepalive.minTimeMs ?? 5_000,
      permitWithoutStream: keepalive.permitWithoutStream ?? false,
      interval: keepalive.intervalMs ?? 7_200_000,
      timeout: keepalive.timeoutMs ?? 20_000,
    },
    clockOffset: Math.floor(performance.now() * 1000),
  };
}

const goErrors: Record<string, string> = {
  EADDRINUSE: "bind: address already in use",
  EADDRNOTAVAIL: "bind: cannot assign requested address",
  EACCES: "bind: permission denied",
};

/** The addon says "code|what|why". */
function listenError(error: unknown): unknown {
  const [code, what, why] = error instanceof Error ? error.message.split("|") : [];
  if (code === undefined || what === undefined || why === undefined) return error;
  return new EdgeListenError(code, `${what}: ${goErrors[code] ?? why}`);
}
