/** An HTTP request whose answer comes line by line, and may never end. All waiting is on what comes. */
import { type ClientRequest, type IncomingMessage, request } from "node:http";

const waitMsMax = 20_000;

/** How it is asked for. */
export interface LineRequest {
  readonly port: number;
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** Sent at once; with `keepsOpen` more may follow by `send`. */
  readonly body?: string;
  readonly keepsOpen?: boolean;
}

/** See the module. */
export class LineStream {
  readonly #request: ClientRequest;
  readonly #response: Promise<IncomingMessage>;
  readonly #lines: string[] = [];
  #text = "";
  #ended: "no" | "whole" | "cut" = "no";
  #wake: () => void = () => {};

  constructor({ port, path, headers = {}, body = "", keepsOpen = false }: LineRequest) {
    const whole = keepsOpen ? {} : { "Content-Length": String(Buffer.byteLength(body)) };
    this.#request = request({ port, host: "127.0.0.1", method: "POST", path, headers: { ...headers, ...whole } });
    this.#response = new Promise((resolve, reject) => {
      this.#request.once("response", resolve);
      this.#request.once("error", reject);
    });
    this.#response.then((response) => this.#read(response)).catch(() => {});
    if (keepsOpen) this.#request.write(body);
    else this.#request.end(body);
  }

  /** The status line and headers, once they have come. */
  async head(): Promise<{ status: number; headers: IncomingMessage["headers"] }> {
    const { statusCode = 0, headers } = await this.#response;
    return { status: statusCode, headers };
  }

  /** The next line; undefined when the body has ended. */
  async line(): Promise<string | undefined> {
    await this.#until(() => this.#lines.length > 0 || this.#ended !== "no");
    return this.#lines.shift();
  }

  /** All lines until the body's end, and whether it ended well. */
  async rest(): Promise<{ lines: string[]; whole: boolean }> {
    await this.#until(() => this.#ended !== "no");
    return { lines: this.#lines.splice(0), whole: this.#ended === "whole" };
  }

  /** Sends more of the body. */
  send(text: string): void {
    this.#request.write(text);
  }

  /** Stops reading, or reads on. */
  async pause(isPaused: boolean): Promise<void> {
    const response = await this.#response;
    if (isPaused) response.pause();
    else response.resume();
  }

  /** Goes away. */
  close(): void {
    this.#request.on("error", () => {});
    this.#request.destroy();
  }

  #read(response: IncomingMessage): void {
    response.setEncoding("utf8");
    response.on("data", (text: string) => {
      const [last = "", ...lines] = (this.#text + text).split("\n").toReversed();
      this.#text = last;
      this.#lines.push(...lines.toReversed());
      this.#wake();
    });
    response.on("error", () => {});
    response.on("close", () => {
      this.#ended = response.complete ? "whole" : "cut";
      this.#wake();
    });
  }

  #until(holds: () => boolean): Promise<void> {
    return new Promise((resolve, reject) => {
      const guard = setTimeout(() => reject(new Error("nothing came in time")), waitMsMax);
      this.#wake = () => {
        if (!holds()) return;
        clearTimeout(guard);
        this.#wake = () => {};
        resolve();
      };
      this.#wake();
    });
  }
}
