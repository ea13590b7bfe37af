/** /metrics: the texts of all threads as one, in Prometheus' text format, compressed when the client takes gzip. */
import { promisify } from "node:util";
import { gzip } from "node:zlib";
import { mergeTexts, registry } from "../../metrics/index.js";
import { type HttpRequest, type HttpResponse, plainError } from "./exchange.js";
import { scrapesByCode, scrapesInFlight } from "./metrics.js";

const compress = promisify(gzip);
const contentType = ["Content-Type", "text/plain; version=0.0.4; charset=utf-8; escaping=underscores"] as const;

/** Whether the client takes gzip: named, and not with a weight of zero. */
function takesGzip(accept: string): boolean {
  return accept.split(",").some((part) => {
    const [name, ...parameters] = part.split(";").map((text) => text.trim());
    return name === "gzip" && !parameters.some((text) => /^q=0(\.0*)?$/.test(text));
  });
}

export class MetricsHandler {
  readonly #otherTexts: () => Promise<readonly string[]>;

  /** `otherTexts` asks the other threads. */
  constructor(otherTexts: () => Promise<readonly string[]>) {
    this.#otherTexts = otherTexts;
  }

  async handle(request: HttpRequest): Promise<HttpResponse> {
    scrapesInFlight.inc();
    try {
      const text = mergeTexts([registry.text(), ...(await this.#otherTexts())]);
      scrapesByCode[200].inc();
      if (!takesGzip(request.header("accept-encoding"))) return { status: 200, headers: [contentType], body: text };
      return { status: 200, headers: [["Content-Encoding", "gzip"], contentType], body: await compress(text) };
    } catch (error) {
      scrapesByCode[500].inc();
      const reason = error instanceof Error ? error.message : String(error);
      return plainError(500, `An error has occurred while serving metrics:\n\n${reason}`);
    } finally {
      scrapesInFlight.dec();
    }
  }
}
