/**
 * Draws what happened in a run: one lane a member, time from left to right, messages as arrows, and crashes, faults,
 * leaders and clients' calls in their places. Quiet time is shortened.
 */
import { MessageType } from "../../src/raft/index.js";
import type { Scenario } from "./scenario.js";
import type { Note, Trace, TracedCall, TracedMessage } from "./trace.js";

const laneHeight = 130;
const left = 70;
const top = 100;
/** Between two times that are written down, at least. */
const tickGap = 90;
/** The most that lies between two neighbouring moments. */
const gapMax = 46;
const pixelsPerMs = 3;
/** So many messages at most, the last ones: an SVG must open. */
const messagesMax = 4000;

const typeNames: ReadonlyMap<number, string> = new Map(Object.entries(MessageType).map(([name, type]) => [type, name]));

const colors: Readonly<Record<string, string>> = {
  App: "#1f6feb",
  AppResp: "#79b8ff",
  Vote: "#d29922",
  VoteResp: "#e3b341",
  PreVote: "#b98900",
  PreVoteResp: "#e3c871",
  Heartbeat: "#c8ccd1",
  HeartbeatResp: "#dfe2e5",
  Snap: "#8250df",
  ReadIndex: "#1a7f37",
  ReadIndexResp: "#57ab5a",
  Prop: "#0a7ea4",
  TimeoutNow: "#bf3989",
};

/** Of the line that says what the colours are. */
const legendWidth = 1150;

const escaped = (text: string): string =>
  text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll('"', "&quot;");

/** Places moments, so that those close together are told apart and quiet time takes no room. */
class Axis {
  readonly #times: readonly number[];
  readonly #places: number[] = [];

  constructor(times: readonly number[]) {
    this.#times = [...new Set(times)].sort((a, b) => a - b);
    let x = left;
    this.#times.forEach((time, i) => {
      if (i > 0) x += Math.min(gapMax, 4 + (time - this.#times[i - 1]!) * pixelsPerMs);
      this.#places.push(x);
    });
  }

  get end(): number {
    return (this.#places.at(-1) ?? left) + 20;
  }

  /** Times to write down, and where. */
  ticks(): { readonly time: number; readonly x: number }[] {
    const ticks: { readonly time: number; readonly x: number }[] = [];
    this.#times.forEach((time, i) => {
      const x = this.#places[i]!;
      if (x >= (ticks.at(-1)?.x ?? -tickGap) + tickGap) ticks.push({ time, x });
    });
    return ticks;
  }

  at(time: number): number {
    let lo = 0;
    let hi = this.#times.length - 1;
    while (lo < hi) {
      const middle = (lo + hi) >>> 1;
      if (this.#times[middle]! < time) lo = middle + 1;
      else hi = middle;
    }
    return this.#places[lo] ?? left;
  }
}

class Drawing {
  readonly #trace: Trace;
  readonly #lanes: readonly string[];
  readonly #messages: readonly TracedMessage[];
  readonly #axis: Axis;
  readonly #parts: string[] = [];

  constructor(scenario: Scenario, trace: Trace) {
    this.#trace = trace;
    this.#lanes = [
      ...new Set([...trace.notes.flatMap(({ member }) => member ?? []), ...trace.calls.map(({ member }) => member)]),
    ].sort();
    this.#messages = trace.messages.slice(-messagesMax);
    const first = this.#messages[0]?.sentMs ?? 0;
    const notes = trace.notes.map(({ atMs }) => atMs);
    const calls = trace.calls.flatMap(({ beginMs, endMs }) => [beginMs, endMs]);
    const messages = this.#messages.flatMap(({ sentMs, arrivedMs }) => [sentMs, arrivedMs]);
    this.#axis = new Axis([...notes, ...calls, ...messages].filter((time) => time >= first || messages.length === 0));
    this.#title(scenario);
  }

  #y(lane: string): number {
    return top + laneHeight * (this.#lanes.indexOf(lane) + 0.4);
  }

  #title(scenario: Scenario): void {
    const { seed, members, faults, operations } = scenario;
    const end = this.#trace.notes.findLast(({ kind }) => kind === "end");
    const what = `seed ${seed}, ${members} members, ${faults.length} faults, ${operations.length} operations`;
    this.#parts.push(`<text x="10" y="20" font-size="14">${escaped(what)}</text>`);
    this.#parts.push(
      `<text x="10" y="40" font-size="14" fill="#cf222e">${escaped((end?.text ?? "").slice(0, 300))}</text>`,
    );
  }

  /** What the colours of the messages are. */
  #legend(): void {
    let x = 10;
    for (const [name, color] of Object.entries(colors)) {
      this.#parts.push(`<rect x="${x}" y="50" width="14" height="4" fill="${color}"/>`);
      this.#parts.push(`<text x="${x + 18}" y="56" fill="#57606a">${name}</text>`);
      x += 34 + name.length * 6;
    }
  }

  #ticks(bottom: number): void {
    for (const { time, x } of this.#axis.ticks()) {
      this.#parts.push(`<line x1="${x}" y1="${bottom - 22}" x2="${x}" y2="${bottom - 17}" stroke="#8c959f"/>`);
      this.#parts.push(`<text x="${x}" y="${bottom - 6}" fill="#57606a">${time.toFixed(1)} ms</text>`);
    }
  }

  draw(): string {
    const width = Math.ceil(Math.max(this.#axis.end, legendWidth));
    const height = top + laneHeight * this.#lanes.length;
    this.#legend();
    this.#ticks(height);
    for (const lane of this.#lanes) this.#lane(lane);
    for (const message of this.#messages) this.#message(message);
    for (const call of this.#trace.calls) this.#call(call);
    for (const note of this.#trace.notes) this.#note(note);
    return (
      `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" ` +
      `font-family="monospace" font-size="10"><rect width="100%" height="100%" fill="#fff"/>\n${this.#parts.join("\n")}\n</svg>\n`
    );
  }

  /** A line while the member is up, thick while it leads. */
  #lane(lane: string): void {
    const y = this.#y(lane);
    this.#parts.push(`<text x="10" y="${y + 4}" font-size="14">${lane}</text>`);
    let up: number | null = null;
    let leads: { readonly x: number; readonly term: string } | null = null;
    const endLead = (x: number): void => {
      if (leads !== null) this.#leader(leads, x, y);
      leads = null;
    };
    const endUp = (x: number): void => {
      endLead(x);
      if (up !== null) this.#parts.push(`<line x1="${up}" y1="${y}" x2="${x}" y2="${y}" stroke="#57606a"/>`);
      up = null;
    };
    for (const { member, kind, atMs, text } of this.#trace.notes) {
      if (member !== lane) continue;
      const x = this.#axis.at(atMs);
      if (kind === "start") up = x;
      else if (kind === "leader") leads = { x, term: text };
      else if (kind === "follower") endLead(x);
      else if (kind !== "fault") endUp(x);
    }
    endUp(this.#axis.end);
  }

  #leader({ x, term }: { readonly x: number; readonly term: string }, end: number, y: number): void {
    this.#parts.push(
      `<line x1="${x}" y1="${y}" x2="${end}" y2="${y}" stroke="#2da44e" stroke-width="5"><title>leads in term ${term}</title></line>`,
    );
    this.#parts.push(`<text x="${x}" y="${y - 6}" fill="#1a7f37">term ${term}</text>`);
  }

  #message({ from, to, type, term, index, entries, reject, sentMs, arrivedMs, arrived }: TracedMessage): void {
    const name = typeNames.get(type) ?? String(type);
    const [x1, y1, x2, y2] = [this.#axis.at(sentMs), this.#y(from), this.#axis.at(arrivedMs), this.#y(to)];
    const what = `${name} term ${term} index ${index}${entries > 0 ? ` +${entries}` : ""}${reject ? " reject" : ""} at ${sentMs.toFixed(1)} ms`;
    const style = arrived ? "" : ' stroke-dasharray="3 3"';
    this.#parts.push(
      `<line x1="${x1}" y1="${y1}" x2="${x2}" y2="${y2}" stroke="${colors[name] ?? "#000"}"${style}><title>${what}${arrived ? "" : ", lost"}</title></line>`,
    );
    if (arrived) this.#parts.push(`<circle cx="${x2}" cy="${y2}" r="1.5" fill="${colors[name] ?? "#000"}"/>`);
  }

  #call({ member, text, beginMs, endMs, outcome }: TracedCall): void {
    const [x, end, y] = [this.#axis.at(beginMs), this.#axis.at(endMs), this.#y(member) + 14];
    const fill = { ok: "#ddf4ff", refused: "#eaeef2", unknown: "#fff1e5" }[outcome];
    this.#parts.push(
      `<rect x="${x}" y="${y}" width="${Math.max(3, end - x)}" height="12" fill="${fill}" stroke="#8c959f"><title>${escaped(text)}, ${beginMs.toFixed(1)} to ${endMs.toFixed(1)} ms</title></rect>`,
    );
  }

  #note({ atMs, member, kind, text }: Note): void {
    const x = this.#axis.at(atMs);
    if (member === null) {
      this.#parts.push(
        `<line x1="${x}" y1="${top - 10}" x2="${x}" y2="100%" stroke="#d0d7de" stroke-dasharray="2 4"/>`,
      );
      this.#parts.push(
        `<text x="${x}" y="${top - 2}" fill="#57606a">${escaped(kind === "fault" ? shortFault(text) : kind)}<title>${escaped(text)}</title></text>`,
      );
      return;
    }
    const y = this.#y(member);
    if (kind === "crash" || kind === "exit" || kind === "refuse" || kind === "removed" || kind === "stop") {
      const d = `M${x - 5} ${y - 5}l10 10m0 -10l-10 10`;
      this.#parts.push(
        `<path d="${d}" stroke="#cf222e" stroke-width="2"><title>${kind} ${escaped(text)} at ${atMs.toFixed(1)} ms</title></path>`,
      );
    } else if (kind === "start") {
      this.#parts.push(
        `<circle cx="${x}" cy="${y}" r="4" fill="#fff" stroke="#57606a"><title>starts at ${atMs.toFixed(1)} ms</title></circle>`,
      );
    } else if (kind === "fault") {
      this.#parts.push(`<line x1="${x}" y1="${y - 16}" x2="${x}" y2="${y}" stroke="#cf222e"/>`);
      this.#parts.push(
        `<text x="${x}" y="${y - 18}" fill="#cf222e">${escaped(shortFault(text))}<title>${escaped(text)}</title></text>`,
      );
    }
  }
}

function shortFault(text: string): string {
  const kind = /"kind":"(\w+)"/.exec(text)?.[1] ?? text;
  const point = /"point":"(\w+)"/.exec(text)?.[1];
  return point === undefined ? kind : `${kind} ${point}`;
}

/** The picture as SVG text. */
export function drawSvg(scenario: Scenario, trace: Trace): string {
  return new Drawing(scenario, trace).draw();
}
