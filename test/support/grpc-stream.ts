/** One bidirectional gRPC stream on a connection of its own: messages out as given, messages in as they come. */
import http2 from "node:http2";
import { frame } from "./grpc.js";

export class GrpcStream {
  /** Messages that have come and were not taken. */
  readonly #arrived: Buffer[] = [];
  readonly #session: http2.ClientHttp2Session;
  readonly #stream: http2.ClientHttp2Stream;
  /** What has come of a message that is not whole, and how long that must be for a further look. */
  #rest: Buffer[] = [];
  #restBytes = 0;
  #wanted = 5;
  #wake: (() => void) | null = null;
  /** grpc-status and grpc-message once the stream has ended. */
  #end: { status: number; message: string } | null = null;

  constructor(port: number, path: string, headers: Readonly<Record<string, string>> = {}) {
    this.#session = http2.connect(`http://127.0.0.1:${port}`, { settings: { initialWindowSize: 1 << 24 } });
    this.#session.on("error", () => {});
    this.#stream = this.#session.request({
      ":method": "POST",
      ":path": path,
      "content-type": "application/grpc",
      te: "trailers",
      ...headers,
    });
    this.#stream.on("error", () => {});
    this.#stream.on("data", (chunk: Buffer) => this.#take(chunk));
    const ended = (fields: http2.IncomingHttpHeaders): void => {
      const status = fields["grpc-status"];
      if (status === undefined) return;
      this.#end = { status: Number(status), message: decodeURIComponent(String(fields["grpc-message"] ?? "")) };
      this.#wake?.();
    };
    this.#stream.on("response", ended);
    this.#stream.on("trailers", ended);
    this.#stream.on("close", () => this.#wake?.());
  }

  send(message: Uint8Array): void {
    this.#stream.write(frame(message));
  }

  /** All that has come since the last call. */
  take(): Buffer[] {
    return this.#arrived.splice(0);
  }

  /** Resolves when something comes or the stream ends or is reset, or after so long; at once when something waits. */
  async changed(msMax: number): Promise<void> {
    if (this.#arrived.length > 0 || this.#end !== null) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, msMax);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
    this.#wake = null;
  }

  get end(): { readonly status: number; readonly message: string } | null {
    return this.#end;
  }

  /** Ends this side; the server may go on. */
  halfClose(): void {
    this.#stream.end();
  }

  close(): void {
    this.#session.destroy();
  }

  #take(chunk: Buffer): void {
    this.#rest.push(chunk);
    this.#restBytes += chunk.length;
    if (this.#restBytes < this.#wanted) return;
    let rest = Buffer.concat(this.#rest);
    for (;;) {
      this.#wanted = rest.length < 5 ? 5 : 5 + rest.readUInt32BE(1);
      if (rest.length < this.#wanted) break;
      this.#arrived.push(Buffer.from(rest.subarray(5, this.#wanted)));
      rest = rest.subarray(this.#wanted);
    }
    this.#rest = [rest];
    this.#restBytes = rest.length;
    this.#wake?.();
  }
}
