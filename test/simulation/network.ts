/**
 * The network between members: it loses, delays, reorders and repeats messages, and cuts links, each in one direction.
 *
 * As the real transport, it never repeats a proposal: TCP delivers a byte at most once, and Raft does not guard
 * against a proposal that comes twice.
 */
import { MessageType, type Message } from "../../src/raft/index.js";
import type { MemoryBackend } from "../../src/storage/backend/index.js";
import type { SimulatedMember } from "./member.js";
import type { World } from "./world.js";

/** Messages to a member that is down wait for it now and then, as in a peer's queue while it reconnects. */
const heldMs = 100;
const heldTimes = 8;

/** A snapshot takes so many times as long as a message, and is given up after so long. */
const snapshotTimes = 20;
const snapshotLostMs = 10_000;

/** How messages fare at present. */
export interface Weather {
  /** One message in so many is lost; 0: none. */
  readonly lossOneIn: number;
  readonly duplicateOneIn: number;
  /** Mean one-way delay. */
  readonly delayMs: number;
  /** Messages of one link stay in order. */
  readonly ordered: boolean;
}

export const fairWeather: Weather = { lossOneIn: 0, duplicateOneIn: 0, delayMs: 0.5, ordered: true };

export class Network {
  readonly #world: World;
  weather: Weather = fairWeather;
  /** Links that are cut, by "from>to", and until when. */
  readonly #cuts = new Map<string, number>();
  /** When a link that had been cut was whole again, where that was before its time. */
  readonly #mended = new Map<string, number>();
  /** When the last message of a link arrives. */
  readonly #arrivals = new Map<string, number>();
  sent = 0;
  snapshots = 0;
  lost = 0;

  constructor(world: World) {
    this.#world = world;
  }

  /** Cuts the link between two members in one direction. */
  cut(from: SimulatedMember, to: SimulatedMember, untilMs: number): void {
    const link = `${from.name}>${to.name}`;
    this.#cuts.set(link, Math.max(untilMs, this.#cuts.get(link) ?? 0));
  }

  heal(): void {
    for (const link of this.#cuts.keys()) this.#mended.set(link, this.#world.timeline.now);
    this.#cuts.clear();
    this.weather = fairWeather;
  }

  send(from: SimulatedMember, message: Message): void {
    this.sent++;
    const to = this.#world.memberOf(message.to);
    if (to === undefined) return;
    const { netChance, happened } = this.#world;
    const link = `${from.name}>${to.name}`;
    const isCut = this.#isCut(from, to);
    if (isCut || netChance.oneIn(this.weather.lossOneIn)) {
      if (isCut) this.#noteCut(from, to);
      else happened.note("message lost");
      this.#lose(from, to, message);
      return;
    }
    this.#carry(from, to, message, link);
    const repeats = message.type !== MessageType.Prop && netChance.oneIn(this.weather.duplicateOneIn);
    if (!repeats) return;
    happened.note("message repeated");
    this.#carry(from, to, message, link);
  }

  /** Carries something that is no message of Raft, unless it is lost. */
  carry(from: SimulatedMember, to: SimulatedMember, arrive: () => void): void {
    const { netChance, timeline } = this.#world;
    if (this.#isCut(from, to) || netChance.oneIn(this.weather.lossOneIn)) return;
    timeline.after(netChance.around(this.weather.delayMs), arrive);
  }

  /** Since when two members have been up with their links whole; null: they are not. */
  connectedSince(a: SimulatedMember, b: SimulatedMember | undefined): number | null {
    if (b === undefined || !a.up || !b.up || this.#isCut(a, b) || this.#isCut(b, a)) return null;
    const links = [`${a.name}>${b.name}`, `${b.name}>${a.name}`];
    const whole = links.map((link) => this.#mended.get(link) ?? this.#cuts.get(link) ?? 0);
    return Math.max(a.process!.startedAt, b.process!.startedAt, ...whole);
  }

  #isCut(from: SimulatedMember, to: SimulatedMember): boolean {
    return (this.#cuts.get(`${from.name}>${to.name}`) ?? 0) > this.#world.timeline.now;
  }

  #noteCut(from: SimulatedMember, to: SimulatedMember): void {
    const { happened, members } = this.#world;
    happened.note("message cut off");
    if (!this.#isCut(to, from)) return happened.note("message cut off in one direction");
    const reaches = (a: SimulatedMember, b: SimulatedMember): boolean => !this.#isCut(a, b) && !this.#isCut(b, a);
    if (members.some((each) => each !== from && each !== to && each.up && reaches(each, from) && reaches(each, to)))
      happened.note("message cut off from a member that a third one reaches");
  }

  /** Sends a message with a snapshot's file; `ended` hears whether the other has both, maybe more than once. */
  sendSnapshot(
    from: SimulatedMember,
    message: Message,
    file: MemoryBackend,
    ended: (delivered: boolean) => void,
  ): void {
    const { netChance, timeline, trace } = this.#world;
    const to = this.#world.memberOf(message.to);
    const sentAt = timeline.now;
    this.sent++;
    const isCut = (): boolean => to === undefined || !to.up || this.#isCut(from, to);
    timeline.after(netChance.around(snapshotTimes * this.weather.delayMs), () => {
      if (to === undefined || isCut() || netChance.oneIn(this.weather.lossOneIn)) {
        if (to !== undefined) this.#lose(from, to, message);
        timeline.after(netChance.around(snapshotTimes * this.weather.delayMs), () => ended(false));
        return;
      }
      trace?.message(from, to, message, sentAt, true);
      this.snapshots++;
      to.process!.receiveSnapshot(message, file, () =>
        timeline.after(netChance.around(this.weather.delayMs), () => ended(!isCut())),
      );
    });
    timeline.after(snapshotLostMs, () => ended(false));
  }

  #lose(from: SimulatedMember, to: SimulatedMember, message: Message): void {
    this.lost++;
    this.#world.trace?.message(from, to, message, this.#world.timeline.now, false);
  }

  #carry(from: SimulatedMember, to: SimulatedMember, message: Message, link: string): void {
    const { timeline, netChance, trace, config, happened } = this.#world;
    const sentAt = timeline.now;
    let at = sentAt + netChance.around(this.weather.delayMs);
    if (this.weather.ordered) at = Math.max(at, this.#arrivals.get(link) ?? 0);
    if (at < (this.#arrivals.get(link) ?? 0)) happened.note("message overtaken");
    if (at - sentAt > config.heartbeatInterval) happened.note("message late");
    this.#arrivals.set(link, at);
    const arrive = (times: number): void => {
      const { process } = to;
      if (process?.core?.cluster.view.removed.has(from.id) === true) {
        // As the real transport does: who was removed is told so, and is not listened to.
        this.#lose(from, to, message);
        this.carry(to, from, () => from.leave());
      } else if (process !== null && to.up) {
        trace?.message(from, to, message, sentAt, true);
        process.deliver(message);
      } else if (times > 0) timeline.after(heldMs, () => arrive(times - 1));
      else this.#lose(from, to, message);
    };
    timeline.at(at, () => arrive(to.up || !netChance.oneIn(3) ? 0 : heldTimes));
  }
}
