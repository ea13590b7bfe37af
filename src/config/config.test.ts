/** The options taken together: defaults that depend on others, the line logged at start, help, and the table itself. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { makeConfig, printConfig, type OptionValues } from "./config.js";
import { helpText } from "./help.js";
import { parseDurationMs, parseUrls, printDuration, type Option } from "./kinds.js";
import { options, type OptionName } from "./options.js";

const given = (values: Partial<Record<OptionName, unknown>>): OptionValues =>
  new Map(Object.entries(values) as [OptionName, unknown][]);

describe("defaults", () => {
  test("that depend on other options", () => {
    const config = makeConfig(given({ name: "n1", "snapshot-count": 0, "backend-batch-limit": 0 }));
    assert.equal(config.dataDir, "n1.etcd");
    assert.equal(config.initialCluster, "n1=http://localhost:2380");
    assert.deepEqual(
      [config.snapshotCount, config.backendBatchInterval, config.backendBatchLimit],
      [10000, 100, 10000],
    );
  });

  test("the configuration is frozen", () => {
    assert.ok(Object.isFrozen(makeConfig(given({}))));
  });
});

describe("the line logged at start", () => {
  const printed = printConfig(
    makeConfig(
      given({
        "snapshot-catchup-entries": 1000,
        "listen-peer-urls": parseUrls("http://127.0.0.1:2,http://127.0.0.1:1"),
      }),
    ),
  );

  test("has the flags' names and values as numbers, truth values and lists", () => {
    assert.equal(printed["snapshot-catchup-entries"], 1000);
    assert.equal(printed["v2-deprecation"], "write-only");
    assert.equal(printed["heartbeat-interval"], "100ms");
    assert.equal(printed["election-timeout"], "1s");
    assert.equal(printed["compact-hash-check-time"], "1m0s");
    assert.equal(printed["pre-vote"], true);
    assert.deepEqual(printed["cors"], ["*"]);
    assert.deepEqual(printed["listen-peer-urls"], ["http://127.0.0.1:1", "http://127.0.0.1:2"]);
  });

  test("has every option but secret ones", () => {
    const missing = Object.keys(options).filter((name) => !(name in printed));
    assert.deepEqual(missing, ["discovery-password"]);
  });
});

describe("durations", () => {
  test("print as Go prints them and are read back", () => {
    const forms: Readonly<Record<string, number>> = {
      "0s": 0,
      "1ns": 1e-6,
      "1.5µs": 1.5e-3,
      "1.5ms": 1.5,
      "300ms": 300,
      "1s": 1000,
      "1m0s": 60_000,
      "2h0m0s": 7_200_000,
      "1h15m30.5s": 4_530_500,
      "-1s": -1000,
    };
    for (const [text, ms] of Object.entries(forms)) {
      assert.equal(printDuration(ms), text);
      assert.equal(parseDurationMs(text), ms);
    }
  });

  test("other forms are refused", () => {
    for (const text of ["", "5", "s", "1 s", "1h-1m", ".s", "1d", "0x1s"])
      assert.throws(() => parseDurationMs(text), { name: "OptionValueError" }, text);
  });
});

describe("URLs", () => {
  test("are sorted and keep their text", () => {
    const [first, second] = parseUrls("http://b:2,http://a:1");
    assert.deepEqual(first, { scheme: "http", hostname: "a", port: 1, text: "http://a:1" });
    assert.equal(second?.text, "http://b:2");
  });

  test("of IPv6 and unix sockets", () => {
    assert.equal(parseUrls("http://[::1]:2379")[0]?.hostname, "::1");
    assert.deepEqual(parseUrls("unix:///tmp/a.sock")[0], {
      scheme: "unix",
      hostname: "/tmp/a.sock",
      port: 0,
      text: "unix:///tmp/a.sock",
    });
  });
});

describe("the option table", () => {
  test("every default is what its own text reads as", () => {
    for (const [name, each] of Object.entries(options)) {
      const { parse, print, default: byDefault } = each as Option<unknown>;
      assert.deepEqual(parse(print(byDefault)), byDefault, name);
    }
  });

  test("help names every option", () => {
    const help = helpText();
    for (const name of Object.keys(options)) assert.match(help, new RegExp(`^ {2}--${name}( |$)`, "m"));
  });

  test("has etcd's flags", () => {
    assert.equal(Object.keys(options).length, 111);
    for (const [name, { help }] of Object.entries(options)) assert.match(help, /^\S.*\.$/, name);
  });
});
