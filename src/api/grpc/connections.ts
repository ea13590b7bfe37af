/**
 * Who is at the other end of each connection: every call is made in somebody's name, nobody's until auth is there.
 * Thread: main.
 */
import { MetadataTag, type CallBatchReader } from "../../native/index.js";
import { anonymous, type Identity } from "../../server/index.js";

/** The origin of a connection's calls. */
export interface Origin {
  readonly identity: Identity;
  /** "ip:port"; empty for calls of the JSON gateway. */
  readonly address: string;
  /** Common name of a verified client certificate. */
  readonly commonName: string;
}

const unknownOrigin: Origin = { identity: anonymous, address: "", commonName: "" };

function textOf(bytes: Uint8Array | undefined): string {
  return bytes === undefined ? "" : Buffer.from(bytes).toString();
}

export class Connections {
  readonly #origins = new Map<number, Origin>();
  /** Calls of one connection come in runs, so the last look-up is often the next one's answer. */
  #lastId = -1;
  #last = unknownOrigin;

  /** A Connect record. */
  opened(record: CallBatchReader): void {
    this.#lastId = -1;
    this.#origins.set(record.connectionId, {
      identity: anonymous,
      address: textOf(record.metadata(MetadataTag.RemoteAddress)),
      commonName: textOf(record.metadata(MetadataTag.CommonName)),
    });
  }

  closed(connectionId: number): void {
    this.#lastId = -1;
    this.#origins.delete(connectionId);
  }

  of(connectionId: number): Origin {
    if (connectionId === this.#lastId) return this.#last;
    this.#lastId = connectionId;
    this.#last = this.#origins.get(connectionId) ?? unknownOrigin;
    return this.#last;
  }
}
