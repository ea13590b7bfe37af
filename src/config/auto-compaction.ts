/** --auto-compaction-mode and --auto-compaction-retention together, as etcd reads them at start. */
import { OptionValueError, parseDurationMs } from "./kinds.js";

export interface AutoCompactionRule {
  readonly mode: "periodic" | "revision";
  /** periodic: milliseconds; revision: a count of revisions. */
  readonly retention: number;
}

const hourMs = 3_600_000;
const nsPerMs = 1e6;

/**
 * null: nothing is compacted by itself. Throws OptionValueError. A bare number is hours or revisions; anything else a duration, as such or in ns.
 */
export function autoCompactionRule(config: {
  readonly autoCompactionMode: string;
  readonly autoCompactionRetention: string;
}): AutoCompactionRule | null {
  const mode = config.autoCompactionMode === "revision" ? "revision" : "periodic";
  const text = config.autoCompactionRetention === "" ? "0" : config.autoCompactionRetention;
  const isCount = /^\+?\d+$/.test(text);
  const unit = mode === "periodic" ? hourMs : 1;
  const retention = isCount ? Number(text) * unit : readDuration(text) * (mode === "periodic" ? 1 : nsPerMs);
  if (retention < 0) throw new OptionValueError(`auto-compaction-retention must not be negative (set to ${text})`);
  return retention === 0 ? null : { mode, retention };
}

function readDuration(text: string): number {
  try {
    return parseDurationMs(text);
  } catch {
    const fault = /^[+-]?(\d+\.?\d*|\.\d+)$/.test(text) ? "missing unit in" : "invalid";
    throw new OptionValueError(`error parsing CompactionRetention: time: ${fault} duration ${JSON.stringify(text)}`);
  }
}
