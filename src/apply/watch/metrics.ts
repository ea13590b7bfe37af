/** etcd's metrics of watches: numbers that are read when they are asked for, and how long sending took. */
import type { Registry } from "../../metrics/index.js";
import type { Clock } from "../clock.js";

/** What they are read from. */
export interface MeasuredWatches {
  readonly streams: number;
  readonly watchers: number;
  readonly slowWatchers: number;
  readonly eventsSent: number;
  readonly pendingEvents: number;
}

export function attachWatchMetrics(registry: Registry, watches: MeasuredWatches): void {
  const streams = registry.gauge("etcd_debugging_mvcc_watch_stream_total");
  const watchers = registry.gauge("etcd_debugging_mvcc_watcher_total");
  const slow = registry.gauge("etcd_debugging_mvcc_slow_watcher_total");
  const events = registry.counter("etcd_debugging_mvcc_events_total");
  const pending = registry.gauge("etcd_debugging_mvcc_pending_events_total");
  registry.onCollect(() => {
    streams.set(watches.streams);
    watchers.set(watches.watchers);
    slow.set(watches.slowWatchers);
    events.set(watches.eventsSent);
    pending.set(watches.pendingEvents);
  });
}

/** What has been sent since the start. */
export interface SentCounts {
  readonly responsesSent: number;
  readonly eventsSent: number;
}

/**
 * How long it took to make responses ready to send. Those of one go are measured together and count with their mean:
 * ten thousand watchers of one key are told in a few milliseconds.
 */
export class SendTimes {
  readonly #clock: Clock;
  readonly #counts: SentCounts;
  readonly #responses;
  readonly #events;
  readonly #control;
  readonly #progress;
  #began = 0;
  #responsesBefore = 0;
  #eventsBefore = 0;

  constructor(registry: Registry, clock: Clock, counts: SentCounts) {
    const name = "etcd_debugging_server_watch_send_loop";
    this.#clock = clock;
    this.#counts = counts;
    this.#responses = registry.histogram(`${name}_watch_stream_duration_seconds`);
    this.#events = registry.histogram(`${name}_watch_stream_duration_per_event_seconds`);
    this.#control = registry.histogram(`${name}_control_stream_duration_seconds`);
    this.#progress = registry.histogram(`${name}_progress_duration_seconds`);
  }

  /** Something is about to be sent; `eventsSent`, `answered` or `ticked` ends that. */
  begin(): void {
    this.#began = this.#clock.now();
    this.#responsesBefore = this.#counts.responsesSent;
    this.#eventsBefore = this.#counts.eventsSent;
  }

  /** Responses with events, or none. */
  eventsSent(): void {
    const responses = this.#counts.responsesSent - this.#responsesBefore;
    if (responses === 0) return;
    const seconds = this.#seconds;
    this.#responses.observeTimes(seconds / responses, responses);
    this.#events.observeTimes(seconds / (this.#counts.eventsSent - this.#eventsBefore), responses);
  }

  /** A watcher is created, or refused. */
  answered(): void {
    this.#control.observe(this.#seconds);
  }

  /** A stream's progress timer has rung. */
  ticked(): void {
    this.#progress.observe(this.#seconds);
  }

  get #seconds(): number {
    return (this.#clock.now() - this.#began) / 1000;
  }
}
