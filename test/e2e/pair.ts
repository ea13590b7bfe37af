/** The real etcd and ours side by side, with the same names and URLs to the outside. */
import { execFile } from "node:child_process";
import { join } from "node:path";
import { Member, optionsAlike, temporaryFolder, waitForStorageVersion } from "../support/index.js";

/** What a program printed and how it ended. */
export interface ProgramResult {
  readonly stdout: string;
  readonly stderr: string;
  readonly code: number;
}

const programMsMax = 30_000;

/** Runs a program to its end with `stdin` as input. */
export const runProgram = (
  program: string,
  args: readonly string[],
  options: { stdin?: string; env?: NodeJS.ProcessEnv } = {},
): Promise<ProgramResult> =>
  new Promise((resolve, reject) => {
    const child = execFile(
      program,
      args,
      { env: options.env ?? { PATH: process.env["PATH"] ?? "" }, timeout: programMsMax, maxBuffer: 64 << 20 },
      (error, stdout, stderr) => {
        if (error !== null && typeof error.code !== "number") reject(error);
        else resolve({ stdout, stderr, code: error === null ? 0 : Number(error.code) });
      },
    );
    // A program may end before it reads.
    child.stdin?.on("error", () => {});
    child.stdin?.end(options.stdin ?? "");
  });

/** A started member of a pair. */
export interface PairMember {
  readonly name: "etcd" | "ours";
  readonly member: Member;
  readonly endpoint: string;
}

const startMember = async (
  name: "etcd" | "ours",
  command: readonly string[],
  dataDir: string,
  flags: readonly string[],
): Promise<PairMember> => {
  const member = await Member.start(await optionsAlike(command, dataDir, flags));
  await waitForStorageVersion(member.port);
  return { name, member, endpoint: `127.0.0.1:${member.port}` };
};

/** Starts both with the same further flags; `stop` ends them and removes their folders. */
export const startPair = async (
  etcd: string,
  ours: readonly string[],
  flags: readonly string[] = [],
): Promise<{ etcd: PairMember; ours: PairMember; stop: () => Promise<void> }> => {
  const folder = await temporaryFolder();
  const one = await startMember("etcd", [etcd], join(folder.path, "etcd"), flags);
  const two = await startMember("ours", ours, join(folder.path, "ours"), flags);
  const stop = async (): Promise<void> => {
    await one.member.kill();
    await two.member.kill();
    await folder.remove();
  };
  return { etcd: one, ours: two, stop };
};
