/**
 * A pair of servers under comparison: the real etcd and another one, both new, both with the same
 * names and URLs to the outside, so that even the IDs which are derived from them must agree.
 */
import { join } from "node:path";
import {
  Member,
  optionsAlike,
  readStatus,
  temporaryFolder,
  waitForStorageVersion,
  type MemberOptions,
} from "../support/index.js";
import { compareOutcomes, type Difference } from "./compare.js";
import type { Operation, Outcome } from "./operation.js";
import { Target } from "./runner.js";

/** One operation that was answered differently. */
export interface Mismatch {
  readonly index: number;
  readonly operation: Operation;
  readonly differences: readonly Difference[];
}

interface Side {
  readonly member: Member;
  readonly target: Target;
}

const startSide = async (options: MemberOptions): Promise<Side> => {
  const member = await Member.start(options);
  await waitForStorageVersion(options.clientPort);
  return { member, target: new Target(options.clientPort) };
};

/** Kills a member and starts it again on its data. */
const restartSide = async ({ member, target }: Side): Promise<Side> => {
  target.close();
  await member.kill();
  return startSide(member.options);
};

/** The two servers of one run. */
export class Pair {
  #etcd: Side;
  #other: Side;
  readonly #removeFolder: () => Promise<void>;

  private constructor(etcd: Side, other: Side, removeFolder: () => Promise<void>) {
    this.#etcd = etcd;
    this.#other = other;
    this.#removeFolder = removeFolder;
  }

  /** `flags` are given to both. */
  static async start(
    etcdCommand: readonly string[],
    otherCommand: readonly string[],
    flags: readonly string[] = [],
  ): Promise<Pair> {
    const folder = await temporaryFolder();
    const sides = await Promise.allSettled([
      optionsAlike(etcdCommand, join(folder.path, "etcd"), flags).then(startSide),
      optionsAlike(otherCommand, join(folder.path, "other"), flags).then(startSide),
    ]);
    const [etcd, other] = sides;
    if (etcd?.status === "fulfilled" && other?.status === "fulfilled") {
      return new Pair(etcd.value, other.value, folder.remove);
    }
    for (const side of sides) if (side.status === "fulfilled") await side.value.member.kill();
    await folder.remove();
    throw sides.find((side) => side.status === "rejected")?.reason;
  }

  /** The member ID of the real etcd, in decimal. */
  async memberId(): Promise<string> {
    return String((await readStatus(this.#etcd.member.port))["leader"]);
  }

  /** Both servers at once; they share nothing. */
  async run(operation: Operation): Promise<{ etcd: Outcome | null; differences: Difference[] }> {
    if (operation.kind === "restart") {
      [this.#etcd, this.#other] = await Promise.all([restartSide(this.#etcd), restartSide(this.#other)]);
      return { etcd: null, differences: [] };
    }
    const [etcd, other] = await Promise.all([this.#etcd.target.run(operation), this.#other.target.run(operation)]);
    return { etcd, differences: compareOutcomes(operation, etcd, other) };
  }

  /** The last lines that the compared server logged, for reports. */
  otherLog(): string {
    return this.#other.member.log.slice(-20).join("\n");
  }

  async close(): Promise<void> {
    for (const { member, target } of [this.#etcd, this.#other]) {
      target.close();
      await member.kill();
    }
    await this.#removeFolder();
  }
}
