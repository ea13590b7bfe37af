/** The machine that is measured, and what it spends on others meanwhile. */
import { execFileSync } from "node:child_process";
import { readFileSync, statfsSync } from "node:fs";
import { cpus, loadavg, release, totalmem } from "node:os";

/** Printed before all figures. */
export interface Machine {
  readonly cpu: string;
  readonly cores: number;
  readonly memoryGiB: number;
  readonly kernel: string;
  readonly node: string;
  readonly fileSystem: string;
  readonly loadAverage: number;
}

const ticksPerSecond = 100;
const tmpfsMagic = 0x0102_1994;

export function describeMachine(folder: string): Machine {
  return {
    cpu: cpus()[0]?.model.trim() ?? "unknown",
    cores: cpus().length,
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    kernel: release(),
    node: process.version,
    fileSystem: fileSystemOf(folder),
    loadAverage: loadavg()[0] ?? 0,
  };
}

/** Figures of tmpfs say nothing of a disk. */
export function isMemoryFileSystem(folder: string): boolean {
  return statfsSync(folder).type === tmpfsMagic;
}

function fileSystemOf(folder: string): string {
  try {
    const text = execFileSync("df", ["--output=source,fstype", folder], { encoding: "utf8" });
    return text.trim().split("\n").at(-1)!.split(/\s+/).join(" ");
  } catch {
    return "unknown";
  }
}

/** CPU seconds that all processes and the kernel have used since boot. */
export function busySeconds(): number {
  const fields = readFileSync("/proc/stat", "utf8").split("\n", 1)[0]!.split(/\s+/).slice(1).map(Number);
  const [user = 0, nice = 0, system = 0, , , irq = 0, softirq = 0] = fields;
  return (user + nice + system + irq + softirq) / ticksPerSecond;
}

/** utime + stime of a whole process, threads that have ended included. */
export function processCpuSeconds(pid: number | "self"): number {
  const text = readFileSync(`/proc/${pid}/stat`, "utf8");
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) / ticksPerSecond;
}

/** Resident memory in MiB: all of it, and the part that is not of files. */
export interface ResidentMiB {
  readonly total: number;
  readonly anonymous: number;
}

export function residentMiB(pid: number): ResidentMiB {
  const text = readFileSync(`/proc/${pid}/status`, "utf8");
  const of = (name: string): number => Number(new RegExp(`^${name}:\\s+(\\d+)`, "m").exec(text)?.[1] ?? 0) / 1024;
  return { total: of("VmRSS"), anonymous: of("RssAnon") };
}
