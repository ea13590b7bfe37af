/**
 * --feature-gates: etcd's gates by name. A gate may be named with the value that holds anyway; asking for another
 * is refused where what it switches is not built.
 */
import { OptionValueError, parseBoolean, text, type Option } from "./kinds.js";

/** etcd 3.7's gates and whether each is on without being asked for. */
const gateDefaults: Readonly<Record<string, boolean>> = {
  AllAlpha: false,
  AllBeta: false,
  StopGRPCServiceOnDefrag: false,
  InitialCorruptCheck: false,
  CompactHashCheck: false,
  TxnModeWriteWithSharedBuffer: true,
  LeaseCheckpoint: false,
  LeaseCheckpointPersist: false,
  SetMemberLocalAddr: false,
  FastLeaseKeepAlive: true,
  PriorityRequest: false,
};

/** Gates that are no longer on trial; all others are ALPHA. */
const betaGates: ReadonlySet<string> = new Set(["AllBeta", "FastLeaseKeepAlive", "TxnModeWriteWithSharedBuffer"]);

/** What these switch is built: they may differ from their default. */
export const builtGates = [
  "CompactHashCheck",
  "InitialCorruptCheck",
  "LeaseCheckpoint",
  "LeaseCheckpointPersist",
  "StopGRPCServiceOnDefrag",
] as const;
export type BuiltGate = (typeof builtGates)[number];

/** One gate as metrics tell of it. */
export interface FeatureGate {
  readonly name: string;
  readonly stage: "ALPHA" | "BETA";
  readonly isOn: boolean;
}

/** Every gate, with those of the option's value switched. */
export function featureGateStates(value: string): FeatureGate[] {
  const changed = new Map(
    value
      .split(",")
      .filter((pair) => pair !== "")
      .map(readGate),
  );
  return Object.entries(gateDefaults).map(([name, byDefault]) => ({
    name,
    stage: betaGates.has(name) ? "BETA" : "ALPHA",
    isOn: changed.get(name) ?? byDefault,
  }));
}

/** Whether the configuration has a feature on. */
export function hasFeature({ featureGates: value }: { readonly featureGates: string }, gate: BuiltGate): boolean {
  return featureGateStates(value).some(({ name, isOn }) => name === gate && isOn);
}

/** The first gate that is switched away from its default although what it switches is not built. */
export function unbuiltGate(value: string): string | undefined {
  const isBuilt = (name: string): boolean => (builtGates as readonly string[]).includes(name);
  const found = featureGateStates(value).find(({ name, isOn }) => isOn !== gateDefaults[name] && !isBuilt(name));
  return found && `${found.name}=${found.isOn}`;
}

/** A line of the help for each gate, as etcd prints them. */
export const gateLines: readonly string[] = featureGateStates("")
  .map(({ name, stage, isOn }) => `${name}=true|false (${stage} - default=${isOn})`)
  .toSorted();

function readGate(pair: string): readonly [string, boolean] {
  const at = pair.indexOf("=");
  if (at < 0) throw new OptionValueError(`missing bool value for ${pair.trim()}`);
  const [name, value] = [pair.slice(0, at).trim(), pair.slice(at + 1).trim()];
  try {
    return [name, parseBoolean(value)];
  } catch {
    throw new OptionValueError(
      `invalid value of ${pair.trim()}, err: strconv.ParseBool: parsing ${JSON.stringify(value)}: invalid syntax`,
    );
  }
}

/** The gates that the text switches away from their default, as text; "" for none. Throws OptionValueError. */
function parseGates(value: string): string {
  const pairs = value.split(",").filter((pair) => pair.trim() !== "");
  const changed = new Map<string, boolean>();
  for (const [name, isOn] of pairs.map(readGate)) {
    const byDefault = gateDefaults[name];
    if (byDefault === undefined) throw new OptionValueError(`unrecognized feature gate: ${name}`);
    if (isOn === byDefault) changed.delete(name);
    else changed.set(name, isOn);
  }
  return [...changed].map(([name, isOn]) => `${name}=${isOn}`).join(",");
}

/** The option; its value names the gates that are not at their default. */
export function featureGates(about: Parameters<typeof text>[0]): Option<string> {
  const made = text({ ...about, lines: gateLines });
  return { ...made, parse: parseGates, fromYaml: (value) => parseGates(made.fromYaml(value)) };
}
