/** What a member counts, for tests that look at one figure. */
import { setTimeout as delay } from "node:timers/promises";
import { HttpClient } from "./http.js";

const pollMs = 20;
const becomesMsMax = 30_000;

/** The value of a metric; `pattern` is a regular expression of its name and labels. NaN when /metrics has none. */
export const readMetric = async (port: number, pattern: string): Promise<number> => {
  const client = new HttpClient(port);
  try {
    const reply = await client.send({ method: "GET", path: "/metrics" });
    return Number(new RegExp(`^${pattern} (\\S+)$`, "m").exec(reply.body.toString())?.[1] ?? Number.NaN);
  } finally {
    client.close();
  }
};

/** Returns once the metric has this value; no event tells of it. */
export const metricBecomes = async (port: number, name: string, value: number): Promise<void> => {
  const until = performance.now() + becomesMsMax;
  for (let seen = await readMetric(port, name); seen !== value; seen = await readMetric(port, name)) {
    if (performance.now() > until)
      throw new Error(`${name} is ${seen}, and was not ${value} within ${becomesMsMax} ms`);
    await delay(pollMs);
  }
};
