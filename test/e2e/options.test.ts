/**
 * The options beside a real etcd's: each flag of its help is there with its default, each of ours is one of etcd's,
 * and a member that was given none logs the same values at its start. Help texts are our own words.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { helpText, options, type OptionName } from "../../src/config/index.js";
import { etcdBinaries, ourCommand, type Member } from "../support/index.js";
import { runProgram, startPair } from "./pair.js";

const cache = await etcdBinaries();
const skip = cache.kind === "skipped" ? cache.reason : false;
const etcd = cache.kind === "ready" ? cache.binaries.etcd : "";

/** What etcd's help names and its command line refuses. */
const onlyInHelp = ["discovery", "discovery-proxy"];

/** Defaults that etcd's help shows in another way, by flag: what it shows, and why ours differs. */
const shownOtherwise: Readonly<Partial<Record<OptionName, readonly [shown: string | undefined, why: string]>>> = {
  "data-dir": ["${name}.etcd", "made from --name when it is empty, as the text says"],
  "initial-cluster": ["default=http://localhost:2380", "made from --name and the peer URLs when it is empty"],
  "max-concurrent-streams": ["math.MaxUint32", "the same number"],
  "backend-batch-interval": ["", "0 stands for the default in both"],
  "compaction-batch-limit": ["1000", "0 stands for it in both"],
  "watch-progress-notify-interval": ["10m", "0 stands for it in both"],
  "log-rotation-config-json": [
    '{"maxsize": 100, "maxage": 0, "maxbackups": 0, "localtime": false, "compress": false}',
    "the same JSON, with spaces",
  ],
  "bootstrap-defrag-threshold-megabytes": [undefined, "etcd's help shows no default"],
  "compaction-sleep-interval": [undefined, "etcd's help shows no default"],
  "downgrade-check-time": [undefined, "etcd's help shows no default"],
  "snapshot-catchup-entries": [undefined, "etcd's help shows no default"],
  "enable-grpc-gateway": [undefined, "etcd's help shows no default"],
};

/** Options that are refused with any value but their default, by the reason. */
const refused: Readonly<Record<string, readonly OptionName[]>> = {
  "discovery is not there yet": [
    "discovery-token",
    "discovery-endpoints",
    "discovery-dial-timeout",
    "discovery-request-timeout",
    "discovery-keepalive-time",
    "discovery-keepalive-timeout",
    "discovery-insecure-transport",
    "discovery-insecure-skip-tls-verify",
    "discovery-cert",
    "discovery-key",
    "discovery-cacert",
    "discovery-user",
    "discovery-password",
    "discovery-fallback",
    "discovery-srv",
    "discovery-srv-name",
  ],
  "TLS is not there yet": [
    "cert-file",
    "key-file",
    "client-cert-file",
    "client-key-file",
    "trusted-ca-file",
    "client-cert-auth",
    "client-crl-file",
    "client-cert-allowed-hostname",
    "auto-tls",
    "peer-cert-file",
    "peer-key-file",
    "peer-client-cert-file",
    "peer-client-key-file",
    "peer-trusted-ca-file",
    "peer-client-cert-auth",
    "peer-auto-tls",
    "peer-crl-file",
    "peer-cert-allowed-cn",
    "peer-cert-allowed-hostname",
    "peer-skip-client-san-verification",
    "cipher-suites",
  ],
  "auth is not there yet": ["auth-token"],
  "it breaks up a cluster of several members, which are not there yet": ["force-new-cluster"],
  "logs are not rotated yet": ["enable-log-rotation"],
  "spans are not sent yet": ["enable-distributed-tracing"],
  "profiles are not there yet": ["enable-pprof"],
  "memory is not locked yet": ["memory-mlock"],
};

/** Flags and the default shown with each; undefined: none is shown. */
const parseHelp = (help: string): Map<string, string | undefined> => {
  const flags = new Map<string, string | undefined>();
  for (const [, name = "", shown] of help.matchAll(/^ {2}--([a-z0-9-]+)(?: (.*))?$/gm)) {
    if (name !== "version" && name !== "config-file") flags.set(name, shown?.replace(/^'(.*)'$/, "$1"));
  }
  return flags;
};

const nameOf = (flag: string): OptionName | undefined => (flag in options ? (flag as OptionName) : undefined);

/** The text is what our option reads as its default. */
const isDefault = (name: OptionName, shown: string | undefined): boolean => {
  const option = options[name];
  const text = shown ?? (option.isBoolean ? "false" : undefined);
  if (text === undefined) return false;
  const print = option.print as (value: unknown) => string;
  return print(option.parse(text)) === print(option.default);
};

test("every flag of etcd's help is there with its default", { skip }, async () => {
  const { stdout, stderr } = await runProgram(etcd, ["--help"]);
  const theirs = parseHelp(stdout + stderr);
  assert.ok(theirs.size > 100);
  const problems: string[] = [];
  for (const [flag, shown] of theirs) {
    const name = nameOf(flag);
    if (name === undefined) {
      if (!onlyInHelp.includes(flag)) problems.push(`--${flag} is missing`);
      continue;
    }
    const otherwise = shownOtherwise[name];
    const isSame = otherwise === undefined ? isDefault(name, shown) : otherwise[0] === shown;
    if (!isSame) problems.push(`--${flag}: etcd shows ${shown}, our default is ${String(options[name].default)}`);
  }
  assert.deepEqual(problems, []);
  assert.deepEqual(
    [...parseHelp(helpText()).keys()].filter((flag) => !theirs.has(flag)),
    [],
  );
});

test("etcd takes each of our flags, with our default", { skip }, async () => {
  const given = Object.entries(options).map(([name, option]) => {
    const print = option.print as (value: unknown) => string;
    return `--${name}=${print(option.default)}`;
  });
  // Flags are read before the version is told, and nothing is started.
  const { code, stdout, stderr } = await runProgram(etcd, [...given, "--version"]);
  assert.equal(code, 0, stderr);
  assert.match(stdout, /^etcd Version/);
  for (const flag of onlyInHelp) {
    assert.equal((await runProgram(etcd, [`--${flag}=`, "--version"])).code, 2);
    const [program = "", ...args] = ourCommand();
    assert.equal((await runProgram(program, [...args, `--${flag}=`, "--version"])).code, 2);
  }
});

test("what is refused is listed, with the reason", () => {
  const names = Object.entries(options).filter(([, option]) => "notYet" in option);
  assert.deepEqual(Object.values(refused).flat().toSorted(), names.map(([name]) => name).toSorted());
});

/** Fields of the line that tells the configuration; those of one side alone, and those that tell of the place. */
const startLine = (member: Member): Record<string, unknown> => {
  const line = member.log.find((each) => each.includes('"starting an etcd server"'));
  assert.ok(line !== undefined, "no line tells the configuration");
  return JSON.parse(line) as Record<string, unknown>;
};

const ofThePlace = ["ts", "caller", "git-sha", "go-version", "data-dir", "listen-peer-urls", "listen-client-urls"];
const loggedOtherwise: Readonly<Record<string, string>> = {
  "quota-backend-bytes": "etcd tells what 0 stands for",
  "auto-compaction-retention": "etcd tells it as a duration",
  "discovery-endpoints": "etcd tells an empty list as an empty text",
};

test("a member without options starts with etcd's values", { skip }, async () => {
  const pair = await startPair(etcd, ourCommand());
  const [theirs, ours] = [startLine(pair.etcd.member), startLine(pair.ours.member)];
  await pair.stop();
  const shared = Object.keys(theirs).filter((name) => name in ours && !ofThePlace.includes(name));
  assert.ok(shared.length > 30, shared.join());
  const differing = shared.filter((name) => JSON.stringify(theirs[name]) !== JSON.stringify(ours[name]));
  assert.deepEqual(differing.toSorted(), Object.keys(loggedOtherwise).toSorted());
});
