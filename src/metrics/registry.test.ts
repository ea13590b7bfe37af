import assert from "node:assert/strict";
import { test } from "node:test";
import { addProcessMetrics, bucketSets, mergeTexts, ProcessMetrics, Registry } from "./index.js";

test("counters and gauges print as Go's client does", () => {
  const registry = new Registry();
  registry.gauge("etcd_server_quota_backend_bytes").set(2 ** 31);
  registry.counter("etcd_server_proposals_failed_total").inc(3);
  registry.counterVector("etcd_server_learner_promote_failures");
  assert.equal(
    registry.text(),
    `# HELP etcd_server_proposals_failed_total The total number of failed proposals seen.
# TYPE etcd_server_proposals_failed_total counter
etcd_server_proposals_failed_total 3
# HELP etcd_server_quota_backend_bytes Current backend storage quota size in bytes.
# TYPE etcd_server_quota_backend_bytes gauge
etcd_server_quota_backend_bytes 2.147483648e+09
`,
  );
});

test("labels are sorted and escaped", () => {
  const registry = new Registry();
  const requests = registry.counterVector("etcd_server_client_requests_total");
  requests.with({ type: "unary", client_api_version: 'a"b\\c\nd' }).inc();
  requests.with({ type: "unary", client_api_version: 'a"b\\c\nd' }).inc();
  assert.match(
    registry.text(),
    /^etcd_server_client_requests_total\{client_api_version="a\\"b\\\\c\\nd",type="unary"\} 2$/m,
  );
  assert.throws(() => requests.with({ type: "unary" }), /labels do not match/);
  assert.throws(() => registry.counterVector("etcd_server_client_requests_total"), /made twice/);
});

test("histograms: bounds are inclusive, buckets cumulative", () => {
  const registry = new Registry();
  const histogram = registry.histogram("etcd_disk_wal_fsync_duration_seconds");
  for (const seconds of [0.001, 0.0011, 0.5, 100]) histogram.observe(seconds);
  const lines = registry.text().split("\n");
  const value = (suffix: string): string | undefined =>
    lines.find((line) => line.startsWith(`etcd_disk_wal_fsync_duration_seconds${suffix} `))?.split(" ")[1];
  assert.equal(value('_bucket{le="0.001"}'), "1");
  assert.equal(value('_bucket{le="0.002"}'), "2");
  assert.equal(value('_bucket{le="8.192"}'), "3");
  assert.equal(value('_bucket{le="+Inf"}'), "4");
  assert.equal(value("_count"), "4");
  assert.equal(Number(value("_sum")), 100.5021);
});

test("histograms counted elsewhere", () => {
  const registry = new Registry();
  const histogram = registry.histogram("etcd_disk_wal_fsync_duration_seconds");
  const counts = new Float64Array(bucketSets.B14.length + 1).fill(1);
  registry.onCollect(() => histogram.load(counts, 7));
  assert.match(registry.text(), /_bucket\{le="\+Inf"\} 15\n.*_sum 7\n.*_count 15\n/);
  assert.throws(() => histogram.load([1], 1), /do not match/);
});

test("numbers", () => {
  const registry = new Registry();
  const gauge = registry.gauge("etcd_server_quota_backend_bytes");
  const printed = (value: number): string => {
    gauge.set(value);
    return registry.text().trim().split(" ").at(-1)!;
  };
  assert.deepEqual([0, 1, -1, 0.0001, 123456, 999999].map(printed), ["0", "1", "-1", "0.0001", "123456", "999999"]);
  assert.deepEqual([1e6, 1234567.5, 1e-5, -2.5e21].map(printed), ["1e+06", "1.2345675e+06", "1e-05", "-2.5e+21"]);
  assert.deepEqual([NaN, Infinity, 0.1 + 0.2].map(printed), ["NaN", "+Inf", "0.30000000000000004"]);
});

test("texts of threads are joined by metric", async () => {
  const [one, two] = [new Registry(), new Registry()];
  one.counter("etcd_mvcc_put_total").inc();
  two.gaugeVector("etcd_server_version").with({ server_version: "3.7.1" }).set(1);
  two.counterVector("etcd_mvcc_put_total").with({}).inc(5);
  two.counter("etcd_debugging_store_expires_total");
  const text = mergeTexts([one.text(), two.text()]);
  const names = [...text.matchAll(/^# TYPE (\S+)/gm)].map((match) => match[1]);
  assert.deepEqual(names, ["etcd_debugging_store_expires_total", "etcd_mvcc_put_total", "etcd_server_version"]);
  assert.match(text, /etcd_mvcc_put_total 1\netcd_mvcc_put_total 5\n/);
  const process = new Registry();
  addProcessMetrics(process);
  const all = mergeTexts([process.text(), await new ProcessMetrics().text()]);
  for (const name of ["process_resident_memory_bytes", "process_open_fds", "os_fd_used", "process_cpu_seconds_total"]) {
    assert.match(all, new RegExp(`^${name} [0-9]`, "m"));
  }
});
