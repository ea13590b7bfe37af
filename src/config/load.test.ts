/** Flags, variables and file against what etcd 3.7.1 was seen to do with the same. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { ConfigError, type Config } from "./config.js";
import { hasFeature } from "./feature-gates.js";
import { UsageError } from "./flag-syntax.js";
import { loadConfig, LoadError, type ConfigWarning } from "./load.js";

type Env = Readonly<Record<string, string>>;

function load(args: readonly string[], env: Env = {}): { config: Config; warnings: readonly ConfigWarning[] } {
  const loaded = loadConfig(args, env);
  assert.equal(loaded.kind, "config");
  return loaded as { config: Config; warnings: readonly ConfigWarning[] };
}

const config = (...args: string[]): Config => load(args).config;

/** What went wrong, as the exit status and the text of the line that says so. */
function failure(args: readonly string[], env: Env = {}): readonly [2 | 1, string] {
  try {
    loadConfig(args, env);
  } catch (error) {
    if (error instanceof UsageError) return [2, error.message];
    if (error instanceof ConfigError || error instanceof LoadError) return [1, error.message];
    throw error;
  }
  return assert.fail(`${args.join(" ")} was taken`);
}

describe("flag syntax", () => {
  test("-f and --f, = and a following value are one; the last one given wins", () => {
    assert.equal(config("--name=a").name, "a");
    assert.equal(config("-name=a").name, "a");
    assert.equal(config("--name", "a").name, "a");
    assert.equal(config("-name", "a").name, "a");
    assert.equal(config("--name=a=b").name, "a=b");
    assert.equal(config("--name", "--x").name, "--x");
    assert.equal(config("--name=a", "-name", "b").name, "b");
    assert.equal(config("--name=a", "--").name, "a");
    assert.equal(config("--initial-cluster=a=http://h:1,b=http://h:2").initialCluster, "a=http://h:1,b=http://h:2");
  });

  test("a boolean takes a value only after =", () => {
    assert.equal(config("--pre-vote").preVote, true);
    for (const no of ["0", "f", "F", "false", "FALSE", "False"])
      assert.equal(config(`--pre-vote=${no}`).preVote, false, no);
    for (const yes of ["1", "t", "T", "true", "TRUE", "True"])
      assert.equal(config(`-pre-vote=${yes}`).preVote, true, yes);
    assert.deepEqual(failure(["--pre-vote", "maybe"]), [1, '"maybe" is not a valid flag']);
  });

  test("numbers are Go's literals", () => {
    assert.equal(config("--max-txn-ops=0x1_0").maxTxnOps, 16);
    assert.equal(config("--heartbeat-interval=010").heartbeatInterval, 8);
    assert.equal(config("--election-timeout=1_000").electionTimeout, 1000);
    assert.equal(config("--quota-backend-bytes=+5").quotaBackendBytes, 5);
    assert.equal(config("--quota-backend-bytes=-9").quotaBackendBytes, -9);
    assert.equal(config("--quota-backend-bytes=9223372036854775807").quotaBackendBytes, Number.MAX_SAFE_INTEGER);
    assert.equal(config("--max-request-bytes=0").maxRequestBytes, 0);
  });

  test("durations are Go's", () => {
    const took = (text: string): number => config(`--warning-apply-duration=${text}`).warningApplyDuration;
    assert.equal(took("1h15m30.5s"), 4_530_500);
    assert.equal(took("100us"), 0.1);
    assert.equal(took("1.5ms"), 1.5);
    assert.equal(took("0"), 0);
    assert.equal(took("-1s"), -1000);
  });

  test("help and version", () => {
    assert.equal(loadConfig(["--version"], {}).kind, "version");
    assert.equal(loadConfig(["-version"], { ETCD_NAME: "a" }).kind, "version");
    assert.equal(loadConfig(["--version", "--config-file", "/nope"], {}).kind, "version");
    assert.equal(loadConfig(["--version=false"], {}).kind, "config");
    for (const help of ["-h", "--help", "-help", "--h"]) assert.equal(loadConfig([help, "--nope"], {}).kind, "help");
  });
});

/** Arguments with what etcd 3.7.1 says, and its exit status. */
const refused: readonly (readonly [readonly string[], 1 | 2, string])[] = [
  [["--nope"], 2, "flag provided but not defined: -nope"],
  [["--nope", "-h"], 2, "flag provided but not defined: -nope"],
  [["--version", "--nope"], 2, "flag provided but not defined: -nope"],
  [["--experimental-max-learners=2"], 2, "flag provided but not defined: -experimental-max-learners"],
  [["--enable-v2"], 2, "flag provided but not defined: -enable-v2"],
  [["--discovery=x"], 2, "flag provided but not defined: -discovery"],
  [["--name"], 2, "flag needs an argument: -name"],
  [["--config-file"], 2, "flag needs an argument: -config-file"],
  [["---name", "x"], 2, "bad flag syntax: ---name"],
  [["--=x"], 2, "bad flag syntax: --=x"],
  [["stray"], 1, '"stray" is not a valid flag'],
  [["stray", "--nope"], 1, '"stray" is not a valid flag'],
  [["--version", "stray"], 1, '"stray" is not a valid flag'],
  [["-"], 1, '"-" is not a valid flag'],
  [["--", "foo"], 1, '"foo" is not a valid flag'],
  [["--heartbeat-interval=abc"], 2, 'invalid value "abc" for flag -heartbeat-interval: parse error'],
  [["--heartbeat-interval=-1"], 2, 'invalid value "-1" for flag -heartbeat-interval: parse error'],
  [["--heartbeat-interval=08"], 2, 'invalid value "08" for flag -heartbeat-interval: parse error'],
  [["--snapshot-count=+5"], 2, 'invalid value "+5" for flag -snapshot-count: parse error'],
  [
    ["--snapshot-count=18446744073709551616"],
    2,
    'invalid value "18446744073709551616" for flag -snapshot-count: value out of range',
  ],
  [
    ["--quota-backend-bytes=9223372036854775808"],
    2,
    'invalid value "9223372036854775808" for flag -quota-backend-bytes: value out of range',
  ],
  [["--pre-vote=maybe"], 2, 'invalid boolean value "maybe" for -pre-vote: parse error'],
  [["--version=x"], 2, 'invalid boolean value "x" for -version: parse error'],
  [["--warning-apply-duration=5"], 2, 'invalid value "5" for flag -warning-apply-duration: parse error'],
  [["--initial-cluster-state=weird"], 2, 'invalid value "weird" for flag -initial-cluster-state: invalid value'],
  [["--discovery-fallback=x"], 2, 'invalid value "x" for flag -discovery-fallback: invalid value'],
  [["--v2-deprecation=not-yet"], 2, 'invalid value "not-yet" for flag -v2-deprecation: invalid value "not-yet"'],
  [
    ["--feature-gates=Nope=true"],
    2,
    'invalid value "Nope=true" for flag -feature-gates: unrecognized feature gate: Nope',
  ],
  [
    ["--feature-gates=LeaseCheckpoint"],
    2,
    'invalid value "LeaseCheckpoint" for flag -feature-gates: missing bool value for LeaseCheckpoint',
  ],
  [["--cors=x"], 2, 'invalid value "x" for flag -cors: URL scheme must be http, https, unix, or unixs: x'],
  [
    ["--listen-client-urls", "127.0.0.1:1234"],
    2,
    'invalid value "127.0.0.1:1234" for flag -listen-client-urls: parse "127.0.0.1:1234": first path segment in URL cannot contain colon',
  ],
  [
    ["--listen-client-urls", "http://127.0.0.1"],
    2,
    'invalid value "http://127.0.0.1" for flag -listen-client-urls: URL address does not have the form "host:port": http://127.0.0.1',
  ],
  [
    ["--listen-client-urls", "http://127.0.0.1:1/path"],
    2,
    'invalid value "http://127.0.0.1:1/path" for flag -listen-client-urls: URL must not contain a path: http://127.0.0.1:1/path',
  ],
  [
    ["--listen-peer-urls", "ftp://127.0.0.1:1"],
    2,
    'invalid value "ftp://127.0.0.1:1" for flag -listen-peer-urls: URL scheme must be http, https, unix, or unixs: ftp://127.0.0.1:1',
  ],
  [["--listen-client-urls", "http://a.com:1"], 1, "expected IP in URL for binding (http://a.com:1)"],
  [
    ["--listen-client-urls", "http://127.0.0.1:1"],
    1,
    "--advertise-client-urls is required when --listen-client-urls is set explicitly",
  ],
  [["--heartbeat-interval=0"], 1, "--heartbeat-interval must be >0 (set to 0ms)"],
  [["--election-timeout=0"], 1, "--election-timeout must be >0 (set to 0ms)"],
  [
    ["--election-timeout", "400"],
    1,
    "--election-timeout[400ms] should be at least as 5 times as --heartbeat-interval[100ms]",
  ],
  [["--election-timeout=60000"], 1, "--election-timeout[60000ms] is too long, and should be set less than 50000ms"],
  [["--compact-hash-check-time=0s"], 1, "--compact-hash-check-time must be >0 (set to 0s)"],
  [["--auto-compaction-mode=x"], 1, 'unknown auto-compaction-mode "x"'],
  [["--auto-compaction-retention=abc"], 1, 'error parsing CompactionRetention: time: invalid duration "abc"'],
  [["--auto-compaction-retention=-3"], 1, 'error parsing CompactionRetention: time: missing unit in duration "-3"'],
  [["--auto-compaction-retention=-5m"], 1, "auto-compaction-retention must not be negative (set to -5m)"],
  [["--log-format=foo"], 1, "unknown log format: foo, supported values json, console"],
  [["--logger=foo"], 1, 'unknown logger option "foo"'],
  [["--log-outputs=default,stderr"], 1, 'multi logoutput for "default" is not supported yet'],
  [["--tls-min-version=x"], 1, 'unexpected TLS version "x" (must be one of: TLS1.2, TLS1.3)'],
  [
    ["--tls-min-version=TLS1.3", "--tls-max-version=TLS1.2"],
    1,
    "min version (TLS1.3) is greater than max version (TLS1.2)",
  ],
  [["--config-file=/nope"], 1, "open /nope: no such file or directory"],
];

describe("refusals, with etcd's text and exit status", () => {
  for (const [args, code, text] of refused) {
    test(args.join(" "), () => assert.deepEqual(failure(args), [code, text]));
  }

  test("what is not built yet is refused, not ignored", () => {
    for (const flag of [
      "--cert-file=a",
      "--auto-tls",
      "--enable-pprof",
      "--feature-gates=PriorityRequest=true",
      "--feature-gates=FastLeaseKeepAlive=0",
    ])
      assert.match(failure([flag]).join(" "), /^1 .*is not supported by this version/, flag);
    assert.match(
      failure(["--listen-client-urls=https://127.0.0.1:1", "--advertise-client-urls=https://127.0.0.1:1"]).join(" "),
      /^1 cannot listen on https/,
    );
  });

  test("what is not built yet may be named with the value it has anyway", () => {
    config("--cert-file=", "--auto-tls=false", "--feature-gates=LeaseCheckpoint=false,FastLeaseKeepAlive=true");
  });

  test("a feature that is built may be switched on, by flag, variable and file; it may need another", () => {
    const stops = "StopGRPCServiceOnDefrag=true";
    assert.equal(config(`--feature-gates=${stops}`).featureGates, stops);
    assert.equal(load([], { ETCD_FEATURE_GATES: stops }).config.featureGates, stops);
    const checks = "InitialCorruptCheck=true,CompactHashCheck=true";
    assert.equal(config(`--feature-gates=${checks}`, "--corrupt-check-time=4h").corruptCheckTime, 4 * 3_600_000);
    const gates = "LeaseCheckpoint=true,LeaseCheckpointPersist=true";
    assert.equal(config(`--feature-gates=${gates}`).featureGates, gates);
    assert.equal(load([], { ETCD_FEATURE_GATES: gates }).config.featureGates, gates);
    assert.equal(hasFeature(config("--feature-gates=LeaseCheckpoint=true"), "LeaseCheckpoint"), true);
    assert.equal(hasFeature(config("--feature-gates=LeaseCheckpoint=true"), "LeaseCheckpointPersist"), false);
    assert.equal(hasFeature(config(), "LeaseCheckpoint"), false);
    assert.deepEqual(failure(["--feature-gates=LeaseCheckpointPersist=true"]), [
      1,
      "enabling feature gate LeaseCheckpointPersist requires enabling feature gate LeaseCheckpoint",
    ]);
    const warned = (value: string): string[] =>
      load([`--feature-gates=${value}`]).warnings.map(({ message }) => message);
    assert.equal(warned("LeaseCheckpoint=true").length, 1);
    assert.deepEqual(warned(gates), []);
  });

  test("old flags are taken and left aside", () => {
    const { warnings } = load(["--force", "--max-result-buffer=5"]);
    assert.deepEqual(
      warnings.map(({ fields }) => fields["flag"]),
      ["force", "max-result-buffer"],
    );
  });
});

describe("environment", () => {
  test("gives what flags do not", () => {
    const { config: loaded, warnings } = load(["--name=a"], { ETCD_SNAPSHOT_COUNT: "5", ETCD_PRE_VOTE: "false" });
    assert.deepEqual([loaded.name, loaded.snapshotCount, loaded.preVote], ["a", 5, false]);
    assert.equal(warnings.length, 2);
  });

  test("beside the same flag it is a conflict, even empty", () => {
    for (const value of ["b", "a", ""]) {
      assert.throws(
        () => loadConfig(["--name=a"], { ETCD_NAME: value }),
        (error) => error instanceof LoadError && error.fields["environment-variable"] === "ETCD_NAME",
      );
    }
  });

  test("a wrong value is not a usage error", () => {
    const texts: Env = {
      ETCD_HEARTBEAT_INTERVAL: 'invalid value "x" for ETCD_HEARTBEAT_INTERVAL: parse error',
      ETCD_PRE_VOTE: 'invalid value "x" for ETCD_PRE_VOTE: parse error',
      ETCD_INITIAL_CLUSTER_STATE: 'invalid value "x" for ETCD_INITIAL_CLUSTER_STATE: invalid value',
      ETCD_CONFIG_FILE: "open x: no such file or directory",
    };
    for (const [name, text] of Object.entries(texts)) assert.deepEqual(failure([], { [name]: "x" }), [1, text]);
  });

  test("other ETCD_ variables and empty ones draw a warning; other variables none", () => {
    const { warnings } = load([], { ETCD_NOPE: "1", ETCD_NAME: "", HOME: "/", ETCD_UNSUPPORTED_ARCH: "arm" });
    assert.deepEqual(
      warnings.map(({ message, fields }) => [message, fields["environment-variable"]]),
      [
        ["unrecognized environment variable", "ETCD_NOPE=1"],
        ["unrecognized environment variable", "ETCD_NAME="],
      ],
    );
  });

  test("a password is not shown", () => {
    assert.throws(() => loadConfig([], { ETCD_DISCOVERY_PASSWORD: "secret" }), {
      message: "--discovery-password is not supported by this version: leave it out",
    });
  });
});

describe("configuration file", () => {
  const folder = mkdtempSync(join(tmpdir(), "etcd-ts-config-"));
  after(() => rmSync(folder, { recursive: true }));
  const file = (text: string): string => {
    const path = join(folder, "etcd.yaml");
    writeFileSync(path, text);
    return path;
  };
  const fromFile = (text: string, ...args: string[]): Config => config("--config-file", file(text), ...args);
  const refusal = (text: string): string => {
    const [code, message] = failure([`--config-file=${file(text)}`]);
    assert.equal(code, 1);
    return message;
  };

  test("YAML or JSON; keys are the flags' names in any case", () => {
    assert.equal(fromFile("name: a\n").name, "a");
    assert.equal(fromFile('{"name": "a", "snapshot-count": 7}').snapshotCount, 7);
    assert.equal(fromFile("NAME: a\n").name, "a");
    assert.equal(fromFile("").name, "default");
    assert.equal(fromFile("name:\n").name, "default");
    assert.equal(fromFile("nope: 1\nversion: true\n").name, "default");
  });

  test("other flags and variables are then left aside, but must be readable", () => {
    const path = file("snapshot-count: 7\n");
    const { config: loaded } = load(["--config-file", path, "--name=b"], { ETCD_MAX_WALS: "1", ETCD_NAME: "c" });
    assert.deepEqual([loaded.snapshotCount, loaded.name, loaded.maxWals], [7, "default", 5]);
    assert.equal(load([], { ETCD_CONFIG_FILE: path }).config.snapshotCount, 7);
    assert.equal(failure(["--config-file", path, "--nope"])[0], 2);
  });

  test("durations are whole nanoseconds", () => {
    assert.equal(fromFile("grpc-keepalive-interval: 600000000000\n").grpcKeepaliveInterval, 600_000);
    assert.equal(fromFile("raft-read-timeout: 1\n").raftReadTimeout, 1e-6);
    assert.match(refusal("warning-apply-duration: 10m\n"), /whole number of nanoseconds/);
    assert.match(refusal('warning-apply-duration: "100"\n'), /whole number of nanoseconds/);
    assert.equal(fromFile("heartbeat-interval: 50\n").heartbeatInterval, 50);
  });

  test("types are strict", () => {
    for (const text of [
      "name: 5",
      "name: true",
      'pre-vote: "false"',
      "pre-vote: 0",
      'snapshot-count: "5"',
      "snapshot-count: 1.5",
      "heartbeat-interval: 50ms",
      "heartbeat-interval: -5",
      "auto-compaction-retention: 5",
      "log-outputs: stderr",
      "listen-metrics-urls: [http://127.0.0.1:1]",
      "initial-cluster-state: weird",
      "listen-client-urls: ftp://x:1",
      "feature-gates: Nope=true",
      "feature-gates: {LeaseCheckpoint: true}",
    ]) {
      assert.ok(refusal(`${text}\n`).startsWith(`${text.split(":")[0]} in `), text);
    }
  });

  test("features", () => {
    const gates = "LeaseCheckpoint=true,LeaseCheckpointPersist=true";
    assert.equal(fromFile(`feature-gates: "${gates}"\n`).featureGates, gates);
    const stops = "StopGRPCServiceOnDefrag=true";
    assert.equal(fromFile(`feature-gates: ${stops}\n`).featureGates, stops);
    assert.match(refusal("feature-gates: LeaseCheckpointPersist=true\n"), /requires enabling feature gate/);
  });

  test("it is YAML 1.1", () => {
    assert.equal(fromFile("pre-vote: no\n").preVote, false);
    assert.equal(fromFile("max-request-bytes: 0x10000\n").maxRequestBytes, 65536);
    assert.equal(fromFile("max-request-bytes: 010\n").maxRequestBytes, 8);
    assert.equal(fromFile("snapshot-count: 1e3\n").snapshotCount, 1000);
    assert.match(refusal("{"), /as YAML/);
    assert.equal(fromFile("name: a\nname: b\n").name, "b", "of equal keys the last one counts");
    assert.equal(
      fromFile("name: a\nName: b\nNAME: c\n").name,
      "a",
      "and of those that differ in case, the last in order",
    );
  });

  test("groups", () => {
    assert.match(refusal("client-transport-security:\n  cert-file: a\n"), /^--cert-file is not supported/);
    assert.match(refusal("peer-transport-security: {auto-tls: true}\n"), /^--peer-auto-tls is not supported/);
    assert.equal(fromFile("socket-options: {reuse-port: true}\n").socketReusePort, true);
    assert.equal(fromFile("client-transport-security:\n  auto-tls: false\ncert-file: a\n").certFile, "");
    assert.deepEqual(fromFile("log-outputs: [stderr, /dev/null]\n").logOutputs, ["stderr", "/dev/null"]);
  });
});
