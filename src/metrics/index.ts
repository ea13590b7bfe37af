/**
 * Prometheus metrics under etcd's names. Each folder has a `metrics.ts` that makes its metrics in the registry of the
 * thread it runs on; each thread's registry prints its own text, and /metrics joins them.
 * Invariants: a name exists in `definitions` only; one thread of the process exports the process' metrics.
 */
export {
  bucketSets,
  definitions,
  type MetricDefinition,
  type MetricKind,
  type MetricName,
  type NameOf,
} from "./definitions.js";
export { addProcessMetrics, openFilesMax, ProcessMetrics } from "./process-metrics.js";
export { Histogram, type Labels, mergeTexts, Metric, Registry, Value } from "./registry.js";

import { Registry } from "./registry.js";

/** This thread's registry. */
export const registry = new Registry();
