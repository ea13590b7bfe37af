/**
 * For tests of the edge: an edge with a handler in TypeScript, and a client on node:http2 that shows what it got.
 * Thread: main.
 */
import http2 from "node:http2";
import type { AddressInfo } from "node:net";
import { CallBatchReader, CallKind } from "./call-batch.js";
import { MethodKind, replyBatch, startEdge, type Edge, type EdgeOptions } from "./edge.js";
import { InboxBuffer } from "./inbox-buffer.js";
import { ReplyBatchWriter, ReplyKind } from "./reply-batch.js";

export const receiveBytesMax = 2 << 20;

export const methods = [
  { path: "/etcdserverpb.KV/Range", kind: MethodKind.Unary },
  { path: "/etcdserverpb.KV/Put", kind: MethodKind.Unary },
  { path: "/etcdserverpb.Watch/Watch", kind: MethodKind.Bidi },
  { path: "/etcdserverpb.Maintenance/Snapshot", kind: MethodKind.ServerStream },
  { path: "/v3lockpb.Lock/Lock", kind: MethodKind.Unary, blocking: true },
];
export const putPath = "/etcdserverpb.KV/Put";
export const watchPath = "/etcdserverpb.Watch/Watch";
export const snapshotPath = "/etcdserverpb.Maintenance/Snapshot";

/** One call record, copied out of its batch. */
export interface Seen {
  kind: CallKind;
  callId: number;
  method: number;
  flags: number;
  connectionId: number;
  message: Buffer;
  metadata: (tag: number) => string | undefined;
}

/** An edge whose calls go to `handle`, one record at a time; what it writes is sent after each drain. */
export class EdgeRig {
  readonly writer = new ReplyBatchWriter();
  readonly seen: Seen[] = [];
  readonly edge: Edge;
  readonly port: number;
  wakes = 0;
  /** While true, calls are left where they are. */
  paused = false;
  readonly #reader = new CallBatchReader();
  readonly #inbox = new InboxBuffer();
  readonly #handle: (seen: Seen, rig: EdgeRig) => void;
  #waiting: (() => void)[] = [];

  constructor(handle: (seen: Seen, rig: EdgeRig) => void, options: Partial<EdgeOptions> = {}) {
    this.#handle = handle;
    this.edge = startEdge(
      {
        listeners: [{ host: "127.0.0.1", port: 0 }],
        methods,
        receiveBytesMax,
        maxConcurrentStreams: 2 ** 32 - 1,
        ...options,
      },
      () => {
        this.wakes++;
        if (!this.paused) this.drain();
      },
    );
    this.port = Number(this.edge.addresses[0]?.split(":").pop());
  }

  drain(): void {
    for (;;) {
      const length = this.#inbox.receive((into) => this.edge.drain(into));
      if (length === 0) break;
      const reader = this.#reader;
      reader.reset(this.#inbox.bytes, length);
      while (reader.next()) this.#take(reader);
      this.#inbox.done(length);
      this.flush();
    }
    for (const wake of this.#waiting.splice(0)) wake();
  }

  #take(reader: CallBatchReader): void {
    const metadata = new Map<number, string>();
    for (const tag of [1, 2, 3, 4]) {
      const value = reader.metadata(tag);
      if (value !== undefined) metadata.set(tag, Buffer.from(value).toString("latin1"));
    }
    const seen: Seen = {
      kind: reader.kind,
      callId: reader.callId,
      method: reader.method,
      flags: reader.flags,
      connectionId: reader.connectionId,
      message: Buffer.from(reader.bytes.subarray(reader.messageStart, reader.messageEnd)),
      metadata: (tag) => metadata.get(tag),
    };
    this.seen.push(seen);
    this.#handle(seen, this);
  }

  flush(): void {
    if (this.writer.length === 0) return;
    replyBatch(this.writer.bytes, this.writer.length);
    this.writer.clear();
  }

  /** Resolves once a record fits; those seen before count too. */
  async until(fits: (seen: Seen) => boolean): Promise<Seen> {
    for (;;) {
      const found = this.seen.find(fits);
      if (found !== undefined) return found;
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
  }

  connect(options: http2.ClientSessionOptions = {}): Client {
    return new Client(this.port, options);
  }

  close(): Promise<void> {
    return this.edge.close(0);
  }
}

/** Answers every unary call with its own message. */
export function echo(seen: Seen, rig: EdgeRig): void {
  if (seen.kind !== CallKind.Call) return;
  rig.writer.message(seen.callId, ReplyKind.MessageAndEnd, seen.message);
}

/** `message` with gRPC's prefix. */
export function framed(message: Uint8Array, flag = 0, length = message.length): Buffer {
  const prefix = Buffer.alloc(5);
  prefix[0] = flag;
  prefix.writeUInt32BE(length, 1);
  return Buffer.concat([prefix, message]);
}

/** Cuts a stream's bytes into messages; throws when the last one is cut short. */
export function unframed(bytes: Buffer): Buffer[] {
  const messages: Buffer[] = [];
  for (let at = 0; at < bytes.length;) {
    const end = at + 5 + bytes.readUInt32BE(at + 1);
    if (end > bytes.length) throw new Error("a message is cut short");
    messages.push(bytes.subarray(at + 5, end));
    at = end;
  }
  return messages;
}

/** How a call ended, as the client saw it. */
export interface Outcome {
  http: number | undefined;
  /** The first header block was also the last. */
  trailersOnly: boolean;
  code: number | undefined;
  text: string | undefined;
  headers: http2.IncomingHttpHeaders;
  data: Buffer;
  resetCode: number;
}

/** One HTTP/2 connection of a gRPC client. */
export class Client {
  readonly session: http2.ClientHttp2Session;
  goaway: number | undefined;

  constructor(port: number, options: http2.ClientSessionOptions) {
    // Node counts what it has yet to send, too, and would give up at 10 MB.
    this.session = http2.connect(`http://127.0.0.1:${port}`, { maxSessionMemory: 1000, ...options });
    this.session.on("error", () => {});
    this.session.on("goaway", (code: number) => {
      this.goaway = code;
    });
  }

  open(path: string, headers: http2.OutgoingHttpHeaders = {}): http2.ClientHttp2Stream {
    const all = { ":method": "POST", ":path": path, "content-type": "application/grpc", te: "trailers", ...headers };
    const stream = this.session.request(all, { endStream: false });
    stream.on("error", () => {});
    return stream;
  }

  /** Sends `chunks` and then the end, and waits for the call's end. */
  async call(path: string, chunks: readonly Uint8Array[], headers: http2.OutgoingHttpHeaders = {}): Promise<Outcome> {
    const stream = this.open(path, headers);
    for (const chunk of chunks) stream.write(chunk);
    stream.end();
    return await outcome(stream);
  }

  destroy(): void {
    this.session.destroy();
  }
}

/** Waits for the call's end. */
export function outcome(stream: http2.ClientHttp2Stream): Promise<Outcome> {
  return new Promise((resolve) => {
    const chunks: Buffer[] = [];
    let first: http2.IncomingHttpHeaders = {};
    let last: http2.IncomingHttpHeaders = {};
    stream.on("response", (headers) => (first = headers));
    stream.on("trailers", (headers: http2.IncomingHttpHeaders) => {
      last = headers;
    });
    stream.on("data", (chunk: Buffer) => chunks.push(chunk));
    stream.on("close", () => {
      const trailersOnly = first["grpc-status"] !== undefined;
      const status = trailersOnly ? first : last;
      const code = status["grpc-status"];
      const text = status["grpc-message"];
      resolve({
        http: first[":status"] as number | undefined,
        trailersOnly,
        code: code === undefined ? undefined : Number(code),
        text: text === undefined ? undefined : decodeURIComponent(String(text)),
        headers: first,
        data: Buffer.concat(chunks),
        resetCode: stream.rstCode,
      });
    });
  });
}

/** The port of a listening node server. */
export function portOf(server: { address(): AddressInfo | string | null }): number {
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("not a TCP server");
  return address.port;
}
