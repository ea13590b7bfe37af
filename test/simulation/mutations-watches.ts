/** Deliberate breaks of what watchers are promised, and of what those are told who need a leader. */
import { edit, type Mutation } from "./mutation.js";

const events: readonly Mutation[] = [
  {
    name: "the first event is lost in catching up",
    rule: "a watcher sees every event from its start on",
    edits: [edit("apply/watch/catch-up", "if (main < watchers.minRevision(", "if (main <= watchers.minRevision(")],
  },
  {
    name: "a held watcher loses the event that did not fit",
    rule: "a watcher sees every event",
    edits: [
      edit(
        "apply/watch/synced-watchers",
        "watchers.setMinRevision(watcher, revision);",
        "watchers.setMinRevision(watcher, revision + 1);",
      ),
    ],
  },
  {
    name: "a watcher that is held in catching up loses the next event",
    rule: "a watcher sees every event",
    edits: [
      edit(
        "apply/watch/catch-up",
        "watchers.setMinRevision(watcher, this.#position.main);",
        "watchers.setMinRevision(watcher, this.#position.main + 1);",
      ),
    ],
  },
  {
    name: "a watcher that is given up in catching up begins anew",
    rule: "a watcher sees an event once",
    edits: [
      edit(
        "apply/watch/catch-up",
        "this.#watchers.setMinRevision(watcher, touches.firstRevision(touch));",
        "this.#watchers.setMinRevision(watcher, 1);",
      ),
    ],
  },
  {
    name: "events of a revision in the wrong order",
    rule: "a watcher sees events in their order",
    edits: [
      edit(
        "apply/watch/event-batch",
        "this.#deliveryNext.set(last, delivery);",
        `{
            this.#deliveryNext.set(last, delivery);
            const before = this.#deliveryEvents.get(last);
            if (this.#revisions.get(before) === this.#revision) {
                this.#deliveryEvents.set(last, this.#deliveryEvents.get(delivery));
                this.#deliveryEvents.set(delivery, before);
            }
        }`,
      ),
    ],
  },
  {
    name: "events are repeated when a turn tells of no more",
    rule: "a watcher sees an event once",
    edits: [
      edit("apply/watch/synced-watchers", "#fallBehind(changes.revision);", "#fallBehind(changes.revision - 1);"),
    ],
  },
  {
    name: "the event before a snapshot is repeated",
    rule: "a watcher sees an event once",
    edits: [
      edit(
        "apply/watch/synced-watchers",
        "this.#fallBehind(this.#toldRevision + 1);",
        "this.#fallBehind(this.#toldRevision);",
      ),
    ],
  },
  {
    name: "watchers do not hear of a snapshot",
    rule: "a watcher sees what a snapshot holds beyond its state",
    edits: [edit("apply/watch/synced-watchers", "this.#fallBehind(this.#toldRevision + 1);", "")],
  },
  {
    name: "watchers join the others a revision early",
    rule: "those behind join the others when they have all there is",
    edits: [
      edit(
        "apply/watch/catch-up",
        "return this.#position.main > this.#surroundings.store.currentRevision;",
        "return this.#position.main >= this.#surroundings.store.currentRevision;",
      ),
      edit(
        "apply/watch/catch-up",
        "const more = backend.scanRecords(position, slice, this);",
        "const more = position.main < store.currentRevision && backend.scanRecords(position, slice, this);",
      ),
      edit(
        "apply/watch/catch-up",
        "position.main = store.currentRevision + 1;",
        "position.main = store.currentRevision;",
      ),
    ],
  },
  {
    name: "progress is told to those behind",
    rule: "progress is told after every event up to its revision",
    edits: [
      edit("apply/watch/watches", "progressDue(watcher) && this.#synced.has(watcher) &&", "progressDue(watcher) &&"),
    ],
  },
  {
    name: "watchers of what is compacted are not told",
    rule: "a watcher hears when what it wants is gone",
    edits: [edit("apply/watch/catch-up", "this.#refuseCompacted();", "")],
  },
];

const leaderNeeds: readonly Mutation[] = [
  {
    name: "calls that need a leader are taken without one",
    rule: "hasleader: a call is refused where no leader is known",
    edits: [edit("api/grpc/admission", "(flags & CallFlag.RequireLeader) !== 0 && core.leader === 0n", "false")],
  },
  {
    name: "streams that need a leader stay without one",
    rule: "hasleader: a stream ends after three election timeouts without a leader",
    edits: [edit("api/grpc/leader-streams", "if (this.#looks >= looksMax) {", "if (false) {")],
  },
];

export const watchMutations: readonly Mutation[] = [...events, ...leaderNeeds];
