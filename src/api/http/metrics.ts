/** Metrics of the HTTP thread. */
import { registry } from "../../metrics/index.js";

export const healthSuccess = registry.counter("etcd_server_health_success");
export const healthFailures = registry.counter("etcd_server_health_failures");
export const scrapesInFlight = registry.gauge("promhttp_metric_handler_requests_in_flight");
/** Whether each check of /livez and /readyz held when it was last made, and how often it did. */
export const checkResults = registry.gaugeVector("etcd_server_healthcheck");
export const checkRuns = registry.counterVector("etcd_server_healthchecks_total");
const scrapes = registry.counterVector("promhttp_metric_handler_requests_total");

/** Scrapes by their status. */
export const scrapesByCode = {
  200: scrapes.with({ code: "200" }),
  500: scrapes.with({ code: "500" }),
  503: scrapes.with({ code: "503" }),
} as const;
