/** Percentile curves of both servers as one SVG: a panel a scenario, latency over the share of slower requests. */
import type { Histogram } from "hdr-histogram-js";
import { percentileMs } from "./statistics.js";

export interface Panel {
  readonly title: string;
  readonly ours: Histogram;
  readonly etcd: Histogram;
}

const panelWidth = 440;
const panelHeight = 300;
const margin = { left: 64, right: 16, top: 34, bottom: 44 };
const columns = 2;
const colors = { ours: "#0b6fb8", etcd: "#c2571a" } as const;
/** Percentiles with a tick; the axis is the logarithm of what lies above. */
const ticks = [50, 90, 99, 99.9, 99.99];
const stepsPerDecade = 24;

/** The whole picture. */
export function drawLatencies(panels: readonly Panel[], caption: string): string {
  const rows = Math.ceil(panels.length / columns);
  const width = panelWidth * Math.min(columns, panels.length);
  const height = panelHeight * rows + 24;
  const place = (i: number): string => `${(i % columns) * panelWidth},${Math.floor(i / columns) * panelHeight}`;
  const body = panels.map((panel, i) => `<g transform="translate(${place(i)})">${drawPanel(panel)}</g>`);
  return (
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" font-family="sans-serif" font-size="12">\n` +
    `<rect width="${width}" height="${height}" fill="#fff"/>\n${body.join("\n")}\n` +
    `<text x="8" y="${height - 8}" fill="#666" font-size="11">${escapeText(caption)}</text>\n</svg>\n`
  );
}

function drawPanel({ title, ours, etcd }: Panel): string {
  const inner = { width: panelWidth - margin.left - margin.right, height: panelHeight - margin.top - margin.bottom };
  // As far as there are a few requests beyond.
  const decades = Math.max(2, Math.min(5, Math.log10(Math.min(ours.totalCount, etcd.totalCount) / 10)));
  const x = (percentile: number): number => (-Math.log10(1 - percentile / 100) / decades) * inner.width;
  const last = 100 * (1 - 10 ** -decades);
  const values = [ours, etcd].flatMap((h) => [percentileMs(h, 0.1), percentileMs(h, last)]);
  const low = Math.floor(Math.log10(Math.min(...values)));
  const high = Math.ceil(Math.log10(Math.max(...values)));
  const y = (ms: number): number => inner.height * (1 - (Math.log10(ms) - low) / (high - low));
  const curve = (name: keyof typeof colors, histogram: Histogram): string => {
    const points: string[] = [];
    for (let step = 0; step <= decades * stepsPerDecade; step++) {
      const percentile = 100 * (1 - 10 ** (-step / stepsPerDecade));
      const ms = Math.max(10 ** low, percentileMs(histogram, percentile));
      points.push(`${x(percentile).toFixed(1)},${y(ms).toFixed(1)}`);
    }
    return `<polyline fill="none" stroke="${colors[name]}" stroke-width="2" points="${points.join(" ")}"/>`;
  };
  const grid = [
    ...ticks.filter((tick) => tick <= last).map((tick) => verticalLine(x(tick), inner.height, `${tick}%`)),
    ...Array.from({ length: high - low + 1 }, (_, i) => horizontalLine(y(10 ** (low + i)), inner.width, low + i)),
  ];
  const axis =
    `<text x="${inner.width / 2}" y="${inner.height + 34}" text-anchor="middle" fill="#444">` +
    `percentile of the latencies</text>`;
  const legend =
    `<text x="${inner.width}" y="-8" text-anchor="end"><tspan fill="${colors.ours}">etcd-ts</tspan>` +
    ` <tspan fill="${colors.etcd}">etcd</tspan></text>`;
  return (
    `<g transform="translate(${margin.left},${margin.top})"><text y="-8" font-weight="bold">${escapeText(title)}</text>` +
    `${legend}${axis}${grid.join("")}${curve("etcd", etcd)}${curve("ours", ours)}</g>`
  );
}

function verticalLine(x: number, height: number, label: string): string {
  const at = x.toFixed(1);
  return (
    `<line x1="${at}" x2="${at}" y1="0" y2="${height}" stroke="#ddd"/>` +
    `<text x="${at}" y="${height + 16}" text-anchor="middle" fill="#444">${label}</text>`
  );
}

function horizontalLine(y: number, width: number, exponent: number): string {
  const at = y.toFixed(1);
  const label = exponent < 0 ? `${10 ** (exponent + 3)} µs` : `${10 ** exponent} ms`;
  return (
    `<line x1="0" x2="${width}" y1="${at}" y2="${at}" stroke="#ddd"/>` +
    `<text x="-6" y="${(y + 4).toFixed(1)}" text-anchor="end" fill="#444">${label}</text>`
  );
}

function escapeText(text: string): string {
  return text.replace(/&/g, "&amp;").replace(/</g, "&lt;");
}
