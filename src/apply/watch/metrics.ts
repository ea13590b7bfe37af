/** etcd's metrics of watches, read when they are asked for. */
import type { Registry } from "../../metrics/index.js";

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
