/**
 * Configuration: the option table, and how a Config is made from flags, environment and file.
 * Thread: main, at start. Nothing else in the server reads `process.env` or `process.argv`.
 */
export { autoCompactionRule, type AutoCompactionRule } from "./auto-compaction.js";
export { ConfigError, makeConfig, printConfig, type Config } from "./config.js";
export { featureGateStates, gateLines, hasFeature, type BuiltGate, type FeatureGate } from "./feature-gates.js";
export { helpText, usageText } from "./help.js";
export { parseUrls, printDuration, type EtcdUrl } from "./kinds.js";
export { UsageError } from "./flag-syntax.js";
export { loadConfig, LoadError, type ConfigWarning, type Loaded } from "./load.js";
export { options, type OptionName } from "./options.js";
