/**
 * HTTP/2 frame by frame: a client that may send what no HTTP/2 library would. It answers nothing by itself, neither
 * SETTINGS nor PING, and reads only when told to.
 */
import net from "node:net";

export const FrameKind = {
  Data: 0,
  Headers: 1,
  Priority: 2,
  RstStream: 3,
  Settings: 4,
  PushPromise: 5,
  Ping: 6,
  Goaway: 7,
  WindowUpdate: 8,
  Continuation: 9,
} as const;

export const FrameFlag = { EndStream: 1, Ack: 1, EndHeaders: 4, Padded: 8, Priority: 0x20 } as const;

/** RFC 9113 §7, the codes that are met here. */
export const errorCodes: Readonly<Record<number, string>> = {
  0: "NO_ERROR",
  1: "PROTOCOL_ERROR",
  2: "INTERNAL_ERROR",
  3: "FLOW_CONTROL_ERROR",
  5: "STREAM_CLOSED",
  6: "FRAME_SIZE_ERROR",
  7: "REFUSED_STREAM",
  8: "CANCEL",
  9: "COMPRESSION_ERROR",
  11: "ENHANCE_YOUR_CALM",
};

export interface RawFrame {
  readonly kind: number;
  readonly flags: number;
  readonly stream: number;
  readonly payload: Buffer;
}

const headerBytes = 9;
const preface = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");

/** One frame as bytes; `length` may lie. */
export function rawFrame(
  kind: number,
  flags: number,
  stream: number,
  payload: Uint8Array = Buffer.alloc(0),
  length = payload.length,
): Buffer {
  const header = Buffer.alloc(headerBytes);
  header.writeUIntBE(length, 0, 3);
  header.set([kind, flags], 3);
  header.writeUInt32BE(stream >>> 0, 5);
  return Buffer.concat([header, payload]);
}

/** A 32-bit number, big-endian. */
export function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value >>> 0);
  return bytes;
}

/** One entry of a SETTINGS frame. */
export function setting(id: number, value: number): Buffer {
  return Buffer.concat([Buffer.of(id >> 8, id & 255), uint32(value)]);
}

/** A string of HPACK without Huffman codes. */
export function hpackString(text: string | Uint8Array): Buffer {
  const bytes = Buffer.from(text);
  if (bytes.length < 127) return Buffer.concat([Buffer.of(bytes.length), bytes]);
  const length = [127];
  let rest = bytes.length - 127;
  for (; rest > 127; rest >>= 7) length.push((rest & 127) | 128);
  return Buffer.concat([Buffer.of(...length, rest), bytes]);
}

/** A header field that no table keeps. */
export function hpackField(name: string, value: string | Uint8Array): Buffer {
  return Buffer.concat([Buffer.of(0), hpackString(name), hpackString(value)]);
}

/** The header block of a gRPC request. */
export function requestBlock(path: string, more: Readonly<Record<string, string>> = {}): Buffer {
  return Buffer.concat([
    Buffer.of(0x83, 0x86),
    hpackField(":path", path),
    hpackField(":authority", "localhost"),
    hpackField("content-type", "application/grpc"),
    hpackField("te", "trailers"),
    ...Object.entries(more).map(([name, value]) => hpackField(name, value)),
  ]);
}

/** A connection whose preface and empty SETTINGS have been sent. */
export class RawHttp2 {
  readonly socket: net.Socket;
  readonly frames: RawFrame[] = [];
  /** The server has closed, or the connection has failed. */
  closed = false;
  #rest: Buffer = Buffer.alloc(0);
  readonly #waiting = new Set<() => void>();

  constructor(port: number, { settings = Buffer.alloc(0) }: { readonly settings?: Uint8Array } = {}) {
    this.socket = net.connect(port, "127.0.0.1");
    this.socket.setNoDelay(true);
    this.socket.on("error", () => {});
    this.socket.on("data", (chunk: Buffer) => this.#take(chunk));
    for (const event of ["end", "close"] as const)
      this.socket.on(event, () => {
        this.closed = true;
        this.#changed();
      });
    this.socket.write(Buffer.concat([preface, rawFrame(FrameKind.Settings, 0, 0, settings)]));
  }

  send(...frames: readonly Uint8Array[]): this {
    if (!this.socket.destroyed) this.socket.write(Buffer.concat(frames));
    return this;
  }

  /** Sends a part at a time, as the server takes it; ends early when it has closed. */
  async sendSlowly(bytes: Uint8Array): Promise<void> {
    if (this.closed || this.socket.destroyed || this.socket.write(bytes)) return;
    await new Promise<void>((resolve) => {
      const done = (): void => {
        this.socket.off("drain", done);
        this.socket.off("close", done);
        resolve();
      };
      this.socket.on("drain", done);
      this.socket.on("close", done);
    });
  }

  /** Resolves once `fits` holds, or the server has closed. */
  async until(fits: () => boolean): Promise<void> {
    while (!fits() && !this.closed) await new Promise<void>((resolve) => this.#waiting.add(resolve));
  }

  destroy(): void {
    this.socket.destroy();
  }

  #take(chunk: Buffer): void {
    let rest: Buffer = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    while (rest.length >= headerBytes) {
      const end = headerBytes + rest.readUIntBE(0, 3);
      if (rest.length < end) break;
      const payload = Buffer.from(rest.subarray(headerBytes, end));
      this.frames.push({ kind: rest[3]!, flags: rest[4]!, stream: rest.readUInt32BE(5), payload });
      rest = rest.subarray(end);
    }
    this.#rest = rest;
    this.#changed();
  }

  #changed(): void {
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    for (const wake of waiting) wake();
  }
}
