/**
 * A real etcd and ours, both new and with the same IDs, for tests that ask both the same by RPC and want the same
 * answers.
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import {
  decodeMessage,
  encodeMessage,
  frame,
  GrpcClient,
  Member,
  optionsAlike,
  ourCommand,
  rpcTypes,
  temporaryFolder,
  waitForStorageVersion,
  type CacheResult,
  type JsonObject,
} from "../support/index.js";

/** What an RPC gave: its status, and its messages in plain form. */
export interface Answer {
  readonly status: number;
  readonly text: string;
  readonly messages: readonly JsonObject[];
}

/** One of the two. */
export class Side {
  #member: Member;
  #client: GrpcClient;

  constructor(member: Member) {
    this.#member = member;
    this.#client = new GrpcClient(member.port);
  }

  /** A call with these requests, one after another, and then no more. */
  async call(service: string, method: string, ...requests: readonly JsonObject[]): Promise<Answer> {
    const types = rpcTypes(`etcdserverpb.${service}`, method);
    const body = Buffer.concat(requests.map((request) => frame(encodeMessage(types.request, request))));
    const reply = await this.#client.raw({ path: `/etcdserverpb.${service}/${method}`, body });
    const messages = reply.messages.map((message) => decodeMessage(types.response, message));
    for (const { canonical } of messages) assert.ok(canonical, `${method} is not written as Go writes it`);
    return { status: reply.status, text: reply.message, messages: messages.map(({ plain }) => plain) };
  }

  /** kill -9, then a start on what it holds. */
  async restart(): Promise<void> {
    await this.stop();
    this.#member = await Member.start(this.#member.options);
    await waitForStorageVersion(this.#member.port);
    this.#client = new GrpcClient(this.#member.port);
  }

  async stop(): Promise<void> {
    this.#client.close();
    await this.#member.kill();
  }
}

/** How two are started and compared. */
export interface BothOptions {
  readonly etcd: CacheResult;
  /** Stands in the text of every failure. */
  readonly seed: number;
  readonly flags?: readonly string[];
  /** What of a message must be equal; default: all of it. */
  readonly comparable?: (message: JsonObject) => JsonObject;
}

/** Both; what they answer must be equal. */
export class Both {
  readonly sides: readonly [Side, Side];
  readonly #options: BothOptions;
  readonly #remove: () => Promise<void>;

  private constructor(sides: readonly [Side, Side], options: BothOptions, remove: () => Promise<void>) {
    this.sides = sides;
    this.#options = options;
    this.#remove = remove;
  }

  static async start(options: BothOptions): Promise<Both> {
    const { etcd, flags = [] } = options;
    if (etcd.kind === "skipped") throw new Error(etcd.reason);
    const folder = await temporaryFolder();
    const sides: Side[] = [];
    for (const command of [[etcd.binaries.etcd], ourCommand()]) {
      const dataDir = join(folder.path, String(sides.length));
      const member = await Member.start(await optionsAlike(command, dataDir, flags));
      await waitForStorageVersion(member.port);
      sides.push(new Side(member));
    }
    return new Both(sides as unknown as [Side, Side], options, folder.remove);
  }

  /** Both answers, etcd's first. */
  async ask(service: string, method: string, ...requests: readonly JsonObject[]): Promise<[Answer, Answer]> {
    const { comparable = (message) => message } = this.#options;
    const ask = async (side: Side): Promise<Answer> => {
      const { messages, ...rest } = await side.call(service, method, ...requests);
      return { ...rest, messages: messages.map(comparable) };
    };
    return Promise.all([ask(this.sides[0]), ask(this.sides[1])]);
  }

  /** The answer of both, which is the same. */
  async call(service: string, method: string, ...requests: readonly JsonObject[]): Promise<Answer> {
    const [etcd, ours] = await this.ask(service, method, ...requests);
    assert.deepEqual(ours, etcd, this.about(`${method} ${JSON.stringify(requests).slice(0, 300)}`));
    return etcd;
  }

  /** A failure's text, with the seed. */
  about(what: string): string {
    return `SEED=${this.#options.seed}: ${what}`;
  }

  async stop(): Promise<void> {
    for (const side of this.sides) await side.stop();
    await this.#remove();
  }
}
