/** Gives each step of a snapshot's installation its time, and a crash its chance. */
import { MemoryBackend } from "../../src/storage/backend/index.js";
import type { FaultPoint } from "./log-door.js";
import type { SimulatedMember } from "./member.js";
import type { Thread } from "./timeline.js";

/** A step takes so many times as long as the log's sync: some are done before the mark is durable, if they may. */
const stepSyncs = [0.1, 1, 20] as const;

/** `applier` is the thread that installs. */
export function observeInstall(member: SimulatedMember, backend: MemoryBackend, applier: Thread): void {
  const { prototype } = MemoryBackend;
  const { diskChance } = member.world;
  const step = (point: FaultPoint): Promise<void> =>
    new Promise((resolve) => {
      member.faultPoint(point);
      // What was killed goes no further.
      applier.run(member.manner.syncMs * diskChance.pick(stepSyncs), resolve);
    });
  backend.beginInstall = async (file) => {
    await step("beforeBuild");
    const fresh = await prototype.beginInstall.call(backend, file);
    await step("afterBuild");
    return fresh;
  };
  backend.finishInstall = async (fresh, adopt) => {
    await step("beforeReplace");
    await prototype.finishInstall.call(backend, fresh, adopt);
    member.world.installs++;
    await step("afterReplace");
  };
}
