/**
 * Runs the commands of a confchange transcript on one configuration with its progress.
 */
import {
  ConfChangeError,
  emptyConfState,
  enterJoint,
  leaveJoint,
  simple,
  Tracker,
  type ChangedConf,
} from "../../src/raft/index.js";
import { parseChanges } from "./conf-change-text.js";
import { describeConfiguration, describeProgress } from "./describe.js";
import { valuesOf, type Directive } from "./transcript.js";

export class ConfChangeReplay {
  readonly #tracker = new Tracker({ inflightMessagesMax: 10, inflightBytesMax: Number.POSITIVE_INFINITY });
  /** One more with every command, so that progress shows when it was made. */
  #lastIndex = 0;

  constructor() {
    this.#tracker.switchTo({ confState: emptyConfState, fresh: new Set() }, 0);
  }

  /** The resulting configuration and progress, or the error's text. */
  run(directive: Directive): string {
    const lastIndex = this.#lastIndex;
    this.#lastIndex += 1;
    try {
      this.#tracker.switchTo(this.#change(directive), lastIndex);
    } catch (error) {
      if (error instanceof ConfChangeError) return error.message;
      throw error;
    }
    const { confState, members } = this.#tracker;
    return [describeConfiguration(confState), ...describeProgress(members)].join("\n");
  }

  #change(directive: Directive): ChangedConf {
    const { confState } = this.#tracker;
    const changes = parseChanges(directive.input);
    switch (directive.command) {
      case "simple":
        return simple(confState, changes);
      case "enter-joint":
        return enterJoint(confState, changes, valuesOf(directive, "autoleave")[0] === "true");
      case "leave-joint":
        if (changes.length > 0) throw new ConfChangeError("this command takes no input");
        return leaveJoint(confState);
      default:
        throw new Error(`unknown command ${directive.command}`);
    }
  }
}
