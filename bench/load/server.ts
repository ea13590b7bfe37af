/** A server under load: started on an empty folder of its own, asked for its revision, measured from outside. */
import { setTimeout as sleep } from "node:timers/promises";
import { performance } from "node:perf_hooks";
import { join } from "node:path";
import { mkdtempSync, rmSync } from "node:fs";
import {
  decodeMessage,
  encodeMessage,
  freePorts,
  GrpcClient,
  Member,
  type JsonObject,
  type MemberOptions,
} from "../../test/support/index.js";

/** Who is measured. */
export interface Contestant {
  readonly name: "ours" | "etcd";
  readonly command: readonly string[];
}

const settleMs = 100;

/** The key of every range, as the load generator writes key 0. */
export const rangeKey = "key/000000000000";

export class Server {
  readonly contestant: Contestant;
  /** From the start of the process until it serves clients, on an empty folder. */
  readonly startMs: number;
  readonly #folder: string;
  #member: Member;

  private constructor(contestant: Contestant, folder: string, started: { member: Member; ms: number }) {
    this.contestant = contestant;
    this.#folder = folder;
    this.#member = started.member;
    this.startMs = started.ms;
  }

  static async start(contestant: Contestant, parent: string): Promise<Server> {
    const folder = mkdtempSync(join(parent, `etcd-ts-bench-${contestant.name}-`));
    const [clientPort, peerPort] = (await freePorts(2)) as [number, number];
    const { command } = contestant;
    const options: MemberOptions = { command, dataDir: join(folder, "data"), clientPort, peerPort };
    try {
      return new Server(contestant, folder, await startTimed(options));
    } catch (error) {
      rmSync(folder, { recursive: true, force: true });
      throw error;
    }
  }

  get pid(): number {
    return this.#member.pid;
  }
  get port(): number {
    return this.#member.port;
  }
  get address(): string {
    return `127.0.0.1:${this.port}`;
  }

  /** Stops it and starts it again on its data; the time until it serves clients. */
  async restart(): Promise<number> {
    await this.#member.stop();
    const { member, ms } = await startTimed(this.#member.options);
    this.#member = member;
    return ms;
  }

  /** SIGTERM, then its data is removed. */
  async stop(): Promise<void> {
    await this.#member.stop();
    rmSync(this.#folder, { recursive: true, force: true });
  }

  /** Whatever its state: for the end of a run that failed. */
  async discard(): Promise<void> {
    await this.#member.kill();
    rmSync(this.#folder, { recursive: true, force: true });
  }

  async put(key: string, value: Uint8Array): Promise<void> {
    const base64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString("base64");
    await this.#call("Put", { key: base64(Buffer.from(key)), value: base64(value) });
  }

  /** The revision, by a linearizable read of a real client. */
  async revision(): Promise<number> {
    const answer = await this.#call("Range", { key: Buffer.from(rangeKey).toString("base64") });
    const header = answer["header"] as JsonObject;
    return Number(header["revision"]);
  }

  /** The revision once it rests: h2load leaves requests behind that the server still works on. */
  async settledRevision(): Promise<number> {
    let last = await this.revision();
    for (;;) {
      await sleep(settleMs);
      const revision = await this.revision();
      if (revision === last) return revision;
      last = revision;
    }
  }

  async #call(method: "Put" | "Range", request: JsonObject): Promise<JsonObject> {
    const client = new GrpcClient(this.port);
    try {
      const reply = await client.unary(
        `/etcdserverpb.KV/${method}`,
        encodeMessage(`etcdserverpb.${method}Request`, request),
      );
      const message = reply.messages[0];
      if (reply.status !== 0 || message === undefined) throw new Error(`${method}: ${reply.status} ${reply.message}`);
      return decodeMessage(`etcdserverpb.${method}Response`, message).plain;
    } finally {
      client.close();
    }
  }
}

async function startTimed(options: MemberOptions): Promise<{ member: Member; ms: number }> {
  const begin = performance.now();
  const member = await Member.start(options);
  return { member, ms: performance.now() - begin };
}
