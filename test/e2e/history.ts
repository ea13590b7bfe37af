/**
 * A slow, obvious model of the store's history, kept by the crash test beside the server: every
 * change with its revision, the state at the newest revision, and etcd's HashKV over all of it.
 * It shares no code with the server.
 */
import { base64, encodeMessage } from "../support/index.js";

/** What one write does, in order. Deleting a key that is not there changes nothing. */
export type Change =
  | { readonly kind: "put"; readonly key: string; readonly value: string }
  | { readonly kind: "delete"; readonly key: string };

/** A key as it is at some revision. */
export interface KeyState {
  readonly key: string;
  readonly value: string;
  readonly create: number;
  readonly mod: number;
  readonly version: number;
}

/** What one write did to one key. */
export interface HistoryEvent {
  readonly revision: number;
  readonly key: string;
  /** As it is then; undefined: deleted. */
  readonly state: KeyState | undefined;
  /** As it was before; undefined: not there. */
  readonly previous: KeyState | undefined;
}

const crcTable = Uint32Array.from({ length: 256 }, (_, n) => {
  let c = n;
  for (let bit = 0; bit < 8; bit++) c = (c & 1) === 1 ? (c >>> 1) ^ 0x82f63b78 : c >>> 1;
  return c >>> 0;
});

const crc32c = (crc: number, bytes: Uint8Array): number => {
  let c = ~crc >>> 0;
  for (const byte of bytes) c = ((crcTable[(c ^ byte) & 0xff] ?? 0) ^ (c >>> 8)) >>> 0;
  return ~c >>> 0;
};

const revisionBytes = (main: number, sub: number, isTombstone: boolean): Buffer => {
  const bytes = Buffer.alloc(isTombstone ? 18 : 17);
  bytes.writeBigUInt64BE(BigInt(main), 0);
  bytes.write("_", 8);
  bytes.writeBigUInt64BE(BigInt(sub), 9);
  if (isTombstone) bytes.write("t", 17);
  return bytes;
};

const keyValueBytes = (state: KeyState): Buffer =>
  encodeMessage("mvccpb.KeyValue", {
    key: base64(state.key),
    create_revision: String(state.create),
    mod_revision: String(state.mod),
    version: String(state.version),
    ...(state.value === "" ? {} : { value: base64(state.value) }),
  });

/** The model. */
export class History {
  readonly #state = new Map<string, KeyState>();
  /** In the order in which they were made. */
  readonly events: HistoryEvent[] = [];
  #revision = 1;
  #hash = crc32c(0, Buffer.from("key"));

  /** The newest revision. */
  get revision(): number {
    return this.#revision;
  }

  /** What HashKV must answer at the newest revision, as nothing was ever compacted. */
  get hash(): number {
    return this.#hash;
  }

  has(key: string): boolean {
    return this.#state.has(key);
  }

  get(key: string): KeyState | undefined {
    return this.#state.get(key);
  }

  /** All keys, in bytewise order. */
  keys(): string[] {
    return [...this.#state.keys()].toSorted((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
  }

  /** Applies one write at the next revision; false, and nothing done, when it changes nothing. */
  apply(changes: readonly Change[]): boolean {
    const main = this.#revision + 1;
    let sub = 0;
    for (const change of changes) if (this.#change(change, main, sub)) sub++;
    if (sub > 0) this.#revision = main;
    return sub > 0;
  }

  #change(change: Change, main: number, sub: number): boolean {
    const old = this.#state.get(change.key);
    if (change.kind === "delete") {
      if (old === undefined) return false;
      this.#state.delete(change.key);
      this.events.push({ revision: main, key: change.key, state: undefined, previous: old });
      this.#record(revisionBytes(main, sub, true), encodeMessage("mvccpb.KeyValue", { key: base64(change.key) }));
      return true;
    }
    const state: KeyState = {
      key: change.key,
      value: change.value,
      create: old?.create ?? main,
      mod: main,
      version: (old?.version ?? 0) + 1,
    };
    this.#state.set(change.key, state);
    this.events.push({ revision: main, key: change.key, state, previous: old });
    this.#record(revisionBytes(main, sub, false), keyValueBytes(state));
    return true;
  }

  #record(key: Buffer, value: Buffer): void {
    this.#hash = crc32c(crc32c(this.#hash, key), value);
  }
}
