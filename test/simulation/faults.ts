/** Makes a scenario's faults happen, each at its time. */
import { goodManner, type SimulatedMember } from "./member.js";
import { leader, type Fault } from "./scenario.js";
import type { World } from "./world.js";

export class FaultInjector {
  readonly #world: World;
  #ended = false;

  constructor(world: World) {
    this.#world = world;
  }

  schedule(): void {
    const { timeline, scenario } = this.#world;
    for (const fault of scenario.faults) timeline.at(fault.atMs, () => this.#inject(fault));
  }

  /** Everything heals: no fault begins any more, and none's end matters. */
  end(): void {
    this.#ended = true;
  }

  #member(i: number): SimulatedMember {
    const { members } = this.#world;
    return i === leader ? this.#world.leader : members[i % members.length]!;
  }

  /** When a fault ends, unless everything has healed before. */
  #after(forMs: number, run: () => void): void {
    this.#world.timeline.after(forMs, () => {
      if (!this.#ended) run();
    });
  }

  #inject(fault: Fault): void {
    if (this.#ended) return;
    this.#world.trace?.note("member" in fault ? this.#member(fault.member) : null, "fault", JSON.stringify(fault));
    switch (fault.kind) {
      case "crash":
        if (fault.point === null) this.#member(fault.member).restartAfter(fault.downMs);
        else this.#member(fault.member).armed = { point: fault.point, count: fault.count, downMs: fault.downMs };
        break;
      case "blackout":
        for (const member of this.#world.members) member.restartAfter(fault.downMs);
        break;
      case "stop":
        this.#member(fault.member).stop(fault.downMs);
        break;
      case "pause":
        this.#pause(fault);
        break;
      case "cut":
        this.#cut(fault);
        break;
      case "weather":
        this.#world.network.weather = fault.weather;
        this.#after(fault.forMs, () => (this.#world.network.weather = this.#world.scenario.weather));
        break;
      case "clockJump":
        this.#jump(fault);
        break;
      case "clockRate":
        this.#member(fault.member).clock.changeRate(this.#world.timeline.now, fault.rate);
        this.#world.happened.note("clock rate changed");
        break;
      case "addMember":
      case "removeMember":
      case "updateMember":
      case "promoteMember":
      case "moveLeader":
        this.#world.operator.change(fault, this.#member(fault.member));
        break;
      case "rejoin":
        this.#world.operator.change(fault, this.#member(0));
        break;
      default:
        this.#injectDisk(fault);
    }
  }

  #injectDisk(
    fault: Extract<
      Fault,
      { kind: "slowDisk" | "hungDisk" | "failedSync" | "slowApply" | "bitFlip" | "dbFlip" | "misdirect" }
    >,
  ): void {
    const { timeline, diskChance, happened } = this.#world;
    const member = this.#member(fault.member);
    switch (fault.kind) {
      case "slowDisk":
        Object.assign(member.manner, { syncMs: fault.syncMs, flushMs: fault.flushMs });
        this.#after(fault.forMs, () =>
          Object.assign(member.manner, { syncMs: goodManner.syncMs, flushMs: goodManner.flushMs }),
        );
        break;
      case "hungDisk":
        member.manner.hungUntil = timeline.now + fault.forMs;
        break;
      case "failedSync":
        member.manner.failNext = true;
        break;
      case "slowApply":
        member.applyTurnMs = fault.turnMs;
        happened.note("apply slow");
        this.#after(fault.forMs, () => (member.applyTurnMs = 0.05));
        break;
      case "bitFlip":
        member.restartAfter(fault.downMs);
        if (member.bootstrapped && member.disk.flipBit(diskChance)) happened.note("log bit flipped");
        break;
      case "dbFlip":
        member.restartAfter(fault.downMs);
        if (member.bootstrapped) member.flipBitOfStore(fault.place);
        break;
      case "misdirect":
        member.disk.misdirectNext = true;
        this.#after(fault.downMs, () => member.restartAfter(fault.downMs));
        break;
    }
  }

  #pause({ member, forMs, threads }: Extract<Fault, { kind: "pause" }>): void {
    const { process } = this.#member(member);
    if (process === null) return;
    const { happened } = this.#world;
    if (threads !== "apply") {
      process.main.pause(forMs);
      happened.note("main paused");
    }
    if (threads !== "main") {
      process.applier.pause(forMs);
      happened.note("apply paused");
    }
  }

  #cut({ links, forMs }: Extract<Fault, { kind: "cut" }>): void {
    const { network, timeline } = this.#world;
    for (const [i, j] of links) {
      const [from, to] = [this.#member(i), this.#member(j)];
      if (from !== to) network.cut(from, to, timeline.now + forMs);
    }
  }

  #jump({ member, forwardMs, wallMs }: Extract<Fault, { kind: "clockJump" }>): void {
    const { clock } = this.#member(member);
    clock.jump(this.#world.timeline.now, forwardMs);
    clock.wallOffsetMs += wallMs;
    const { happened } = this.#world;
    if (forwardMs > 0) happened.note("clock jumped");
    if (wallMs < 0) happened.note("wall clock set back");
  }
}
