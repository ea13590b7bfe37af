/**
 * The configuration as the server reads it: one frozen object with a property an option, in camelCase,
 * after defaults that depend on others have been filled in and the whole has been checked.
 */
import { autoCompactionRule } from "./auto-compaction.js";
import { hasFeature, unbuiltGate } from "./feature-gates.js";
import { printDuration, type EtcdUrl, type Option } from "./kinds.js";
import { options, type OptionName } from "./options.js";

type CamelCase<S extends string> = S extends `${infer Head}-${infer Tail}`
  ? `${Head}${Capitalize<CamelCase<Tail>>}`
  : S;
type ValueOf<O> = O extends Option<infer T> ? T : never;
type Options = typeof options;

/** Every option's value. */
export type Config = { readonly [Name in OptionName as CamelCase<Name>]: ValueOf<Options[Name]> };

/** Values by flag name, before they are checked together; absent: the default. */
export type OptionValues = ReadonlyMap<OptionName, unknown>;

/** The configuration as a whole is wrong; etcd logs the message as `failed to verify flags` and ends with 1. */
export class ConfigError extends Error {
  override readonly name = "ConfigError";
}

const electionMsMax = 50_000;

function camelCase(name: string): string {
  return name.replace(/-([a-z0-9])/g, (_, letter: string) => letter.toUpperCase());
}

/** Fills defaults in and checks the whole. Throws ConfigError with etcd's text. */
export function makeConfig(given: OptionValues): Config {
  const values: Record<string, unknown> = {};
  for (const name of Object.keys(options) as OptionName[])
    values[camelCase(name)] = given.get(name) ?? options[name].default;
  // One property was set for each option of the table, each with its option's own type.
  const config = values as { -readonly [K in keyof Config]: Config[K] };
  if (config.dataDir === "") config.dataDir = `${config.name}.etcd`;
  if (config.snapshotCount === 0) config.snapshotCount = options["snapshot-count"].default;
  if (config.backendBatchInterval === 0) config.backendBatchInterval = 100;
  if (config.backendBatchLimit === 0) config.backendBatchLimit = 10_000;
  if (config.initialCluster === "") config.initialCluster = `${config.name}=http://localhost:2380`;
  check(config, given);
  return Object.freeze(config);
}

function check(config: Config, given: OptionValues): void {
  checkLogging(config);
  checkBindable(listenersOf(config));
  if (given.has("listen-client-urls") && !given.has("advertise-client-urls")) {
    throw new ConfigError("--advertise-client-urls is required when --listen-client-urls is set explicitly");
  }
  checkTicks(config);
  checkWords(config);
  checkAgainstTls(config);
  checkFeatures(config);
  for (const [name, value] of given) checkBuilt(name, value);
}

/** A listener binds to an address, never to a name that DNS could change under it. */
function checkBindable(urls: readonly EtcdUrl[]): void {
  for (const { scheme, hostname, text } of urls) {
    if (scheme.startsWith("unix") || hostname === "localhost") continue;
    if (!/^(\d+\.){3}\d+$/.test(hostname) && !hostname.includes(":")) {
      throw new ConfigError(`expected IP in URL for binding (${text})`);
    }
  }
}

function checkTicks({ heartbeatInterval, electionTimeout }: Config): void {
  if (heartbeatInterval <= 0) throw new ConfigError(`--heartbeat-interval must be >0 (set to ${heartbeatInterval}ms)`);
  if (electionTimeout <= 0) throw new ConfigError(`--election-timeout must be >0 (set to ${electionTimeout}ms)`);
  if (5 * heartbeatInterval > electionTimeout) {
    throw new ConfigError(
      `--election-timeout[${electionTimeout}ms] should be at least as 5 times as --heartbeat-interval[${heartbeatInterval}ms]`,
    );
  }
  if (electionTimeout > electionMsMax) {
    throw new ConfigError(
      `--election-timeout[${electionTimeout}ms] is too long, and should be set less than ${electionMsMax}ms`,
    );
  }
}

function listenersOf(config: Config): readonly EtcdUrl[] {
  const { listenPeerUrls, listenClientUrls, listenClientHttpUrls, listenMetricsUrls } = config;
  return [...listenPeerUrls, ...listenClientUrls, ...listenClientHttpUrls, ...listenMetricsUrls];
}

function checkLogging({ logger, logFormat, logOutputs }: Config): void {
  if (logger !== "zap") throw new ConfigError(`unknown logger option ${JSON.stringify(logger)}`);
  if (logFormat !== "json" && logFormat !== "console")
    throw new ConfigError(`unknown log format: ${logFormat}, supported values json, console`);
  if (logOutputs.length === 0) throw new ConfigError('open sink "": open : no such file or directory');
  if (logOutputs.length > 1 && logOutputs.includes("default"))
    throw new ConfigError('multi logoutput for "default" is not supported yet');
  if (logOutputs.includes("systemd/journal"))
    throw new ConfigError("--log-outputs systemd/journal is not supported: systemd keeps what stderr gets");
}

/** Words and bounds that etcd looks at only once all values are there. */
function checkWords(config: Config): void {
  const { autoCompactionMode, compactHashCheckTime, tlsMinVersion, tlsMaxVersion } = config;
  if (autoCompactionMode !== "periodic" && autoCompactionMode !== "revision")
    throw new ConfigError(`unknown auto-compaction-mode ${JSON.stringify(autoCompactionMode)}`);
  checkRetention(config);
  if (compactHashCheckTime <= 0)
    throw new ConfigError(`--compact-hash-check-time must be >0 (set to ${printDuration(compactHashCheckTime)})`);
  for (const version of [tlsMinVersion, tlsMaxVersion]) {
    if (version !== "" && version !== "TLS1.2" && version !== "TLS1.3") {
      throw new ConfigError(`unexpected TLS version ${JSON.stringify(version)} (must be one of: TLS1.2, TLS1.3)`);
    }
  }
  if (tlsMinVersion === "TLS1.3" && tlsMaxVersion === "TLS1.2")
    throw new ConfigError(`min version (${tlsMinVersion}) is greater than max version (${tlsMaxVersion})`);
}

function checkRetention(config: Config): void {
  try {
    autoCompactionRule(config);
  } catch (error) {
    throw new ConfigError((error as Error).message, { cause: error });
  }
}

function checkAgainstTls(config: Config): void {
  const unsupported = listenersOf(config).find((url) => url.scheme !== "http");
  if (unsupported !== undefined) {
    throw new ConfigError(`cannot listen on ${unsupported.text}: only http:// listeners are there so far`);
  }
}

function checkFeatures(config: Config): void {
  const unbuilt = unbuiltGate(config.featureGates);
  if (unbuilt !== undefined)
    throw new ConfigError(`--feature-gates: ${unbuilt} is not supported by this version: leave it out`);
  if (hasFeature(config, "LeaseCheckpointPersist") && !hasFeature(config, "LeaseCheckpoint"))
    throw new ConfigError(
      "enabling feature gate LeaseCheckpointPersist requires enabling feature gate LeaseCheckpoint",
    );
}

/** An option that asks for what is not there must not look as if it worked. */
function checkBuilt(name: OptionName, value: unknown): void {
  const { notYet, print, default: byDefault } = options[name] as Option<unknown>;
  if (notYet !== true || print(value) === print(byDefault)) return;
  throw new ConfigError(`--${name} is not supported by this version: leave it out`);
}

/** The configuration with its flags' names, for the line logged at start. */
export function printConfig(config: Config): Record<string, unknown> {
  const printed: Record<string, unknown> = {};
  for (const name of Object.keys(options) as OptionName[]) {
    const { logged, secret } = options[name] as Option<unknown>;
    if (secret !== true) printed[name] = logged(config[camelCase(name) as keyof Config]);
  }
  return printed;
}
