/**
 * Metrics of the process as a whole: prom-client's (`process_*`, `nodejs_*`), and those of Go's client that it lacks.
 * One thread of the process exports them. Outside Linux what /proc would tell is absent.
 */
import { readdirSync, readFileSync } from "node:fs";
import type { Registry as PromRegistry } from "prom-client";
import type { Registry } from "./registry.js";

function read(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
}

/** Received and sent bytes of all network interfaces, as the process' network namespace sees them. */
function networkBytes(): { received: number; sent: number } | undefined {
  const table = read("/proc/self/net/dev");
  if (table === undefined) return undefined;
  let received = 0;
  let sent = 0;
  for (const row of table.split("\n").slice(2)) {
    const columns = row
      .slice(row.indexOf(":") + 1)
      .trim()
      .split(/\s+/);
    received += Number(columns[0] ?? 0);
    sent += Number(columns[8] ?? 0);
  }
  return { received, sent };
}

/** The soft limit of open files; Infinity when there is none, undefined when the system does not say. */
export function openFilesMax(): number | undefined {
  const match = /^Max open files\s+(\S+)/m.exec(read("/proc/self/limits") ?? "");
  if (!match) return undefined;
  return match[1] === "unlimited" ? Infinity : Number(match[1]);
}

function openFiles(): number | undefined {
  try {
    return readdirSync("/proc/self/fd").length;
  } catch {
    return undefined;
  }
}

/** Adds to `registry` what Go's client has of a process and prom-client has not. */
export function addProcessMetrics(registry: Registry): void {
  const limit = openFilesMax();
  const network = networkBytes();
  if (limit !== undefined) registry.gauge("os_fd_limit").set(limit);
  if (openFiles() !== undefined) {
    const used = registry.gauge("os_fd_used");
    registry.onCollect(() => used.set(openFiles() ?? 0));
  }
  if (network) {
    const received = registry.counter("process_network_receive_bytes_total");
    const sent = registry.counter("process_network_transmit_bytes_total");
    registry.onCollect(() => {
      const now = networkBytes() ?? network;
      received.set(now.received);
      sent.set(now.sent);
    });
  }
  const virtual = registry.gauge("process_virtual_memory_max_bytes");
  const match = /^Max address space\s+(\S+)/m.exec(read("/proc/self/limits") ?? "");
  virtual.set(match && match[1] !== "unlimited" ? Number(match[1]) : 2 ** 64);
}

/** prom-client's metrics of the process, as a source of text for `mergeTexts`; counted from when this is made. */
export class ProcessMetrics {
  /** The package is loaded beside what else a start waits for: nobody waits for it but a scrape. */
  readonly #registry = collect();

  async text(): Promise<string> {
    return (await this.#registry).metrics();
  }
}

async function collect(): Promise<PromRegistry> {
  const { collectDefaultMetrics, Registry } = await import("prom-client");
  const register = new Registry();
  collectDefaultMetrics({ register });
  return register;
}
