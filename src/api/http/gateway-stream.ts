/**
 * A call that answers with a stream, as lines of JSON: `{"result":…}` for each message, `{"error":…}` at a bad end, as
 * grpc-gateway writes them. The status waits for the first line: an error before any message has its own.
 * A client that is slow to read is sent no more than what the call's owner sends before it asks for room.
 */
import { ErrContextCanceled, type EtcdError } from "../../errors/index.js";
import type { MethodDescriptor } from "../../proto/index.js";
import type { Call, CallClient, StreamCall } from "./call-client.js";
import { type BodySink, type HttpRequest, type HttpResponse, jsonType } from "./exchange.js";
import { goJsonString } from "./go-text.js";
import { encodeJson } from "./json-encode.js";
import { httpStatuses, metadataTypeHeader } from "./gateway-status.js";

const resultStart = Buffer.from('{"result":');
const resultEnd = Buffer.from("}\n");

export class GatewayStream {
  readonly #method: MethodDescriptor;
  readonly #answer: Promise<HttpResponse | undefined>;
  #resolve: (response: HttpResponse | undefined) => void = () => {};
  /** The client's deadline; cleared when the stream is over. */
  timer: NodeJS.Timeout | undefined;
  #begun = false;
  #call: StreamCall | undefined;
  #sink: BodySink | undefined;
  /** Lines that came before the sink. */
  #early: Uint8Array[] = [];
  #ended = false;
  /** The sink has much to send; the call's owner wants to know when not. */
  #full = false;
  #asked = false;

  /** Starts the call for a request. Throws what `CallClient.open` throws. */
  constructor(client: CallClient, method: MethodDescriptor, call: Call, request: HttpRequest) {
    this.#method = method;
    this.#answer = new Promise((resolve) => (this.#resolve = resolve));
    this.#call = client.open(call, {
      message: (bytes, asks) => this.#message(bytes, asks),
      end: (error) => this.#end(error),
    });
    request.onGone(() => {
      this.#begin(undefined);
      this.#over();
      this.#call?.cancel(new ErrContextCanceled());
    });
  }

  /** The answer; undefined when the client has gone before it. */
  get answer(): Promise<HttpResponse | undefined> {
    return this.#answer;
  }

  get call(): StreamCall {
    return this.#call!;
  }

  #message(bytes: Uint8Array, asks: boolean): void {
    if (this.#ended) return;
    this.#begin({ status: 200, headers: [jsonType, metadataTypeHeader] });
    this.#write(Buffer.concat([resultStart, encodeJson(this.#method.response, bytes, ","), resultEnd]));
    this.#asked ||= asks;
    this.#tellWritable();
  }

  #end(error: EtcdError | undefined): void {
    if (this.#ended) return;
    if (error === undefined) this.#begin({ status: 200, headers: [] });
    else {
      this.#begin({ status: httpStatuses[error.code], headers: [jsonType] });
      const text = error.message === "" ? "" : `,"message":${goJsonString(error.message)}`;
      this.#write(Buffer.from(`{"error":{"code":${error.code}${text}}}\n`));
    }
    this.#over();
    this.#sink?.end();
  }

  #over(): void {
    this.#ended = true;
    clearTimeout(this.timer);
  }

  #begin(head: Pick<HttpResponse, "status" | "headers"> | undefined): void {
    if (this.#begun) return;
    this.#begun = true;
    this.#resolve(head && { ...head, body: (sink) => this.#start(sink) });
  }

  #start(sink: BodySink): void {
    this.#sink = sink;
    sink.onDrain(() => {
      this.#full = false;
      this.#tellWritable();
    });
    for (const line of this.#early.splice(0)) this.#write(line);
    if (this.#ended) sink.end();
    else this.#tellWritable();
  }

  #write(line: Uint8Array): void {
    if (this.#sink === undefined) this.#early.push(line);
    else this.#full = !this.#sink.write(line);
  }

  #tellWritable(): void {
    if (!this.#asked || this.#full || this.#sink === undefined) return;
    this.#asked = false;
    this.#call?.writable();
  }
}
