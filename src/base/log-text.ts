/** Times and sizes as they stand in the log lines of a Go program. */

/** The clock that has microseconds may drift from the one that is kept right by so much. */
const driftMsMax = 5;
let origin = performance.timeOrigin;

/** Milliseconds since the epoch, with microseconds behind the point. */
export function nowMs(): number {
  const precise = origin + performance.now();
  const wall = Date.now();
  if (Math.abs(precise - wall) <= driftMsMax) return precise;
  origin = wall - performance.now();
  return wall;
}

/** Milliseconds since the epoch in UTC, with microseconds, as zap prints them. */
export function clockText(milliseconds: number): string {
  const micros = String(Math.floor((milliseconds % 1) * 1000)).padStart(3, "0");
  return `${new Date(milliseconds).toISOString().slice(0, -1)}${micros}Z`;
}

/** As Go prints a duration. */
export function durationText(milliseconds: number): string {
  const rounded = (value: number, digits: number): number => Number(value.toFixed(digits));
  if (milliseconds === 0) return "0s";
  if (milliseconds < 1) return `${rounded(milliseconds * 1000, 3)}µs`;
  if (milliseconds < 1000) return `${rounded(milliseconds, 6)}ms`;
  const seconds = milliseconds / 1000;
  if (seconds < 60) return `${rounded(seconds, 9)}s`;
  const minutes = Math.floor(seconds / 60);
  const rest = `${minutes % 60}m${rounded(seconds - minutes * 60, 9)}s`;
  return minutes < 60 ? rest : `${Math.floor(minutes / 60)}h${rest}`;
}

const units = ["B", "kB", "MB", "GB", "TB", "PB"] as const;

/** As the go-humanize package prints bytes: decimal units, one decimal below ten. */
export function bytesText(bytes: number): string {
  if (bytes < 10) return `${bytes} B`;
  const unit = Math.min(units.length - 1, Math.floor(Math.log(bytes) / Math.log(1000)));
  const value = Math.floor((bytes / 1000 ** unit) * 10 + 0.5) / 10;
  return `${value < 10 ? value.toFixed(1) : value.toFixed(0)} ${units[unit]!}`;
}
