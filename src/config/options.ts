/**
 * All options in one table: flag, ETCD_ variable, YAML key, default and help come from here.
 * Names, defaults and meanings are etcd's; durations are in milliseconds inside.
 */
import { builtGates, featureGates } from "./feature-gates.js";
import {
  boolean,
  checkOrigin,
  choice,
  duration,
  integer,
  list,
  milliseconds,
  parseUrls,
  text,
  urls,
  yamlList,
} from "./kinds.js";

const discovery = { section: "clustering", notYet: true, help: "Bootstrap by discovery." } as const;

/** Discovery: read, so that their mistakes are found, and refused as not built yet. */
const discoveryOptions = {
  "discovery-token": text({ ...discovery, default: "", yaml: ["discovery-config", "token"] }),
  "discovery-endpoints": list({ ...discovery, default: [], yaml: ["discovery-config", "endpoints"] }),
  "discovery-dial-timeout": duration({ ...discovery, default: 2000, yaml: ["discovery-config", "dial-timeout"] }),
  "discovery-request-timeout": duration({ ...discovery, default: 5000, yaml: ["discovery-config", "request-timeout"] }),
  "discovery-keepalive-time": duration({ ...discovery, default: 2000, yaml: ["discovery-config", "keepalive-time"] }),
  "discovery-keepalive-timeout": duration({
    ...discovery,
    default: 6000,
    yaml: ["discovery-config", "keepalive-timeout"],
  }),
  "discovery-insecure-transport": boolean({ ...discovery, default: true }),
  "discovery-insecure-skip-tls-verify": boolean({ ...discovery, default: false }),
  "discovery-cert": text({ ...discovery, default: "" }),
  "discovery-key": text({ ...discovery, default: "" }),
  "discovery-cacert": text({ ...discovery, default: "" }),
  "discovery-user": text({ ...discovery, default: "" }),
  "discovery-password": text({ ...discovery, secret: true, default: "" }),
  "discovery-fallback": choice({ ...discovery, default: "exit", values: ["exit", "proxy"] }),
  "discovery-srv": text({ ...discovery, default: "" }),
  "discovery-srv-name": text({ ...discovery, default: "" }),
} as const;

/** Changes a cluster's members must agree on have `scope: "cluster"`; `notYet` marks what cannot be
 * asked for so far, `noEffect` what may be asked for and changes nothing. */
export const options = {
  // Member
  name: text({
    section: "member",
    default: "default",
    help: "This member's name for people; it must stand in --initial-cluster.",
  }),
  "data-dir": text({
    section: "member",
    default: "",
    help: "Folder of this member's data; ${name}.etcd when not given.",
  }),
  "wal-dir": text({
    section: "member",
    default: "",
    help: "Folder of the write-ahead log alone, e.g. on a disk of its own.",
  }),
  "snapshot-count": integer({
    section: "member",
    default: 10000,
    help: "Applied entries between two snapshots of the Raft log; 0 for the default.",
  }),
  "snapshot-catchup-entries": integer({
    section: "member",
    default: 5000,
    help: "Entries kept in the log behind a snapshot, for slow followers.",
  }),
  "heartbeat-interval": milliseconds({
    section: "member",
    scope: "cluster",
    default: 100,
    help: "Time between a leader's heartbeats, in milliseconds.",
  }),
  "election-timeout": milliseconds({
    section: "member",
    scope: "cluster",
    default: 1000,
    help: "Time without a leader before an election, in milliseconds; at least 5 heartbeats, at most 50000.",
  }),
  "initial-election-tick-advance": boolean({
    section: "member",
    noEffect: true,
    default: true,
    help: "Shorten the first election timeout after a start.",
  }),
  "listen-peer-urls": urls({
    section: "member",
    noEffect: true,
    default: parseUrls("http://localhost:2380"),
    help: "URLs to listen on for other members.",
  }),
  "listen-client-urls": urls({
    section: "member",
    default: parseUrls("http://localhost:2379"),
    help: "URLs to listen on for clients: gRPC, and HTTP unless --listen-client-http-urls is given.",
  }),
  "listen-client-http-urls": urls({
    section: "member",
    default: [],
    help: "URLs to listen on for HTTP alone; --listen-client-urls then serves gRPC alone.",
  }),
  "max-snapshots": integer({
    section: "member",
    noEffect: true,
    default: 5,
    help: "Snapshot files to keep; 0 keeps all. Deprecated by etcd 3.6.",
  }),
  "max-wals": integer({ section: "member", noEffect: true, default: 5, help: "Log files to keep; 0 keeps all." }),
  "memory-mlock": boolean({
    section: "member",
    notYet: true,
    default: false,
    help: "Keep the database's pages in RAM.",
  }),
  "quota-backend-bytes": integer({
    section: "member",
    go: "int64",
    default: 0,
    help: "Size of the database, in bytes, at which writes are refused; 0 for 2 GiB, negative for none.",
  }),
  "backend-bbolt-freelist-type": text({
    section: "member",
    noEffect: true,
    default: "map",
    help: "How bbolt keeps its free pages; the database here is LMDB.",
  }),
  "backend-batch-interval": duration({
    section: "member",
    default: 0,
    help: "Longest time between two commits of the database; 0 for 100ms.",
  }),
  "backend-batch-limit": integer({
    section: "member",
    go: "int64",
    default: 0,
    help: "Most changes in one commit of the database; 0 for 10000.",
  }),
  "max-txn-ops": integer({ section: "member", default: 128, help: "Most operations in each list of a transaction." }),
  "max-request-bytes": integer({
    section: "member",
    default: 1572864,
    help: "Largest request that the server takes, in bytes.",
  }),
  "max-concurrent-streams": integer({
    section: "member",
    go: "uint32",
    default: 4294967295,
    help: "Most HTTP/2 streams a client connection.",
  }),
  "grpc-keepalive-min-time": duration({
    section: "member",
    default: 5000,
    help: "Shortest time a client must wait between two pings.",
  }),
  "grpc-keepalive-interval": duration({
    section: "member",
    default: 7_200_000,
    help: "Time after which the server pings a silent client; 0 for never.",
  }),
  "grpc-keepalive-timeout": duration({
    section: "member",
    default: 20_000,
    help: "Time that the server waits for the answer to its ping; 0 for ever.",
  }),
  "socket-reuse-port": boolean({
    section: "member",
    default: false,
    yaml: ["socket-options", "reuse-port"],
    help: "Set SO_REUSEPORT on listeners for clients.",
  }),
  "socket-reuse-address": boolean({
    section: "member",
    noEffect: true,
    default: false,
    yaml: ["socket-options", "reuse-address"],
    help: "Set SO_REUSEADDR on listeners; it is set in any case.",
  }),
  "enable-grpc-gateway": boolean({ section: "member", default: true, help: "Serve JSON over HTTP below /v3/." }),
  "raft-read-timeout": duration({
    section: "member",
    noEffect: true,
    default: 5000,
    help: "Read timeout of connections between members, at least 5s.",
  }),
  "raft-write-timeout": duration({
    section: "member",
    noEffect: true,
    default: 5000,
    help: "Write timeout of connections between members, at least 5s.",
  }),
  "feature-gates": featureGates({
    section: "member",
    default: "",
    help: `Features to switch, as Name=true,Other=false; so far ${builtGates.slice(0, -1).join(", ")} and ${builtGates.at(-1)!}.`,
  }),

  // Clustering
  "initial-advertise-peer-urls": urls({
    section: "clustering",
    default: parseUrls("http://localhost:2380"),
    help: "This member's peer URLs as told to the others.",
  }),
  "initial-cluster": text({
    section: "clustering",
    default: "",
    help: "The members of a new cluster as name=URL pairs; ${name}=http://localhost:2380 when not given.",
  }),
  "initial-cluster-state": choice({
    section: "clustering",
    default: "new",
    values: ["new", "existing"],
    help: "new: make a cluster; existing: join one.",
  }),
  "initial-cluster-token": text({
    section: "clustering",
    scope: "cluster",
    default: "etcd-cluster",
    help: "Sets clusters apart that have equal members.",
  }),
  "advertise-client-urls": urls({
    section: "clustering",
    default: parseUrls("http://localhost:2379"),
    help: "This member's client URLs as told to the others and to clients.",
  }),
  ...discoveryOptions,
  "strict-reconfig-check": boolean({
    section: "clustering",
    default: true,
    help: "Refuse changes of membership that would lose the quorum.",
  }),
  "pre-vote": boolean({
    section: "clustering",
    scope: "cluster",
    default: true,
    help: "Ask for votes before an election, so that a member that returns does not disturb.",
  }),
  "auto-compaction-mode": text({
    section: "clustering",
    default: "periodic",
    help: "How --auto-compaction-retention is meant: periodic or revision.",
  }),
  "auto-compaction-retention": text({
    section: "clustering",
    default: "0",
    help: "History to keep: a time, or a count of revisions; 0 for all.",
  }),
  "v2-deprecation": choice({
    section: "clustering",
    noEffect: true,
    default: "write-only",
    values: ["write-only", "write-only-skip-check", "write-only-drop-data", "gone"],
    refusal: (value) => `invalid value ${JSON.stringify(value)}`,
    help: "What is left of the v2 store; there is none here.",
  }),

  // Security
  "cert-file": text({
    section: "security",
    notYet: true,
    yaml: ["client-transport-security", "cert-file"],
    default: "",
    help: "Certificate for clients.",
  }),
  "key-file": text({
    section: "security",
    notYet: true,
    yaml: ["client-transport-security", "key-file"],
    default: "",
    help: "Key of --cert-file.",
  }),
  "client-cert-file": text({
    section: "security",
    notYet: true,
    yaml: ["client-transport-security", "client-cert-file"],
    default: "",
    help: "Certificate that this server shows when it dials.",
  }),
  "client-key-file": text({
    section: "security",
    notYet: true,
    yaml: ["client-transport-security", "client-key-file"],
    default: "",
    help: "Key of --client-cert-file.",
  }),
  "trusted-ca-file": text({
    section: "security",
    notYet: true,
    yaml: ["client-transport-security", "trusted-ca-file"],
    default: "",
    help: "CA of clients' certificates.",
  }),
  "client-cert-auth": boolean({
    section: "security",
    notYet: true,
    yaml: ["client-transport-security", "client-cert-auth"],
    default: false,
    help: "Ask clients for a certificate.",
  }),
  "client-crl-file": text({ section: "security", notYet: true, default: "", help: "Revoked client certificates." }),
  "client-cert-allowed-hostname": list({
    section: "security",
    notYet: true,
    default: [],
    help: "Names that clients' certificates may have.",
  }),
  "auto-tls": boolean({
    section: "security",
    notYet: true,
    yaml: ["client-transport-security", "auto-tls"],
    default: false,
    help: "Make a certificate for clients.",
  }),
  "peer-cert-file": text({
    section: "security",
    notYet: true,
    yaml: ["peer-transport-security", "cert-file"],
    default: "",
    help: "Certificate for other members.",
  }),
  "peer-key-file": text({
    section: "security",
    notYet: true,
    yaml: ["peer-transport-security", "key-file"],
    default: "",
    help: "Key of --peer-cert-file.",
  }),
  "peer-client-cert-file": text({
    section: "security",
    notYet: true,
    yaml: ["peer-transport-security", "client-cert-file"],
    default: "",
    help: "Certificate shown to other members.",
  }),
  "peer-client-key-file": text({
    section: "security",
    notYet: true,
    yaml: ["peer-transport-security", "client-key-file"],
    default: "",
    help: "Key of --peer-client-cert-file.",
  }),
  "peer-trusted-ca-file": text({
    section: "security",
    notYet: true,
    yaml: ["peer-transport-security", "trusted-ca-file"],
    default: "",
    help: "CA of members' certificates.",
  }),
  "peer-client-cert-auth": boolean({
    section: "security",
    notYet: true,
    yaml: ["peer-transport-security", "client-cert-auth"],
    default: false,
    help: "Ask members for a certificate.",
  }),
  "peer-auto-tls": boolean({
    section: "security",
    notYet: true,
    yaml: ["peer-transport-security", "auto-tls"],
    default: false,
    help: "Make a certificate for members.",
  }),
  "peer-crl-file": text({ section: "security", notYet: true, default: "", help: "Revoked members' certificates." }),
  "peer-cert-allowed-cn": list({
    section: "security",
    notYet: true,
    yaml: ["peer-transport-security", "allowed-cn"],
    default: [],
    help: "Common names that members' certificates may have.",
  }),
  "peer-cert-allowed-hostname": list({
    section: "security",
    notYet: true,
    yaml: ["peer-transport-security", "allowed-hostname"],
    default: [],
    help: "Names that members' certificates may have.",
  }),
  "peer-skip-client-san-verification": boolean({
    section: "security",
    notYet: true,
    yaml: ["peer-transport-security", "skip-client-san-verification"],
    default: false,
    help: "Do not check the names in members' certificates.",
  }),
  "self-signed-cert-validity": integer({
    section: "security",
    noEffect: true,
    default: 1,
    help: "Years that certificates of --auto-tls and --peer-auto-tls are good for.",
  }),
  "cipher-suites": list({ section: "security", notYet: true, default: [], help: "TLS cipher suites, by Go's names." }),
  "tls-min-version": text({
    section: "security",
    noEffect: true,
    default: "TLS1.2",
    help: "Lowest TLS version: TLS1.2 or TLS1.3.",
  }),
  "tls-max-version": text({
    section: "security",
    noEffect: true,
    default: "",
    help: "Highest TLS version; empty for the newest.",
  }),
  cors: list({
    section: "security",
    default: ["*"],
    check: checkOrigin,
    help: "Origins that browsers may call from.",
  }),
  "host-whitelist": list({
    section: "security",
    default: ["*"],
    help: "Host names that HTTP requests may ask for on listeners without TLS.",
  }),

  // Auth
  "auth-token": text({ section: "auth", notYet: true, default: "simple", help: "Kind of token and its options." }),
  "bcrypt-cost": integer({ section: "auth", noEffect: true, default: 10, help: "Cost of hashing a password." }),
  "auth-token-ttl": integer({
    section: "auth",
    noEffect: true,
    default: 300,
    help: "Life of a simple token, in seconds.",
  }),

  // Monitoring, logging, tracing
  "listen-metrics-urls": urls({
    section: "monitoring",
    default: [],
    help: "Further URLs for /metrics and the health checks.",
  }),
  "enable-pprof": boolean({
    section: "monitoring",
    notYet: true,
    default: false,
    help: "Serve profiles below /debug/pprof.",
  }),
  metrics: text({ section: "monitoring", default: "basic", help: "basic, or extensive for histograms of every RPC." }),
  logger: text({ section: "logging", default: "zap", help: "The form of log lines; only zap's." }),
  "log-outputs": yamlList({ section: "logging", default: ["default"], help: "stderr, stdout, or paths of files." }),
  "log-level": text({ section: "logging", default: "info", help: "debug, info, warn, error, panic or fatal." }),
  "log-format": text({ section: "logging", default: "json", help: "json, or console for people." }),
  "enable-log-rotation": boolean({ section: "logging", notYet: true, default: false, help: "Rotate the log file." }),
  "log-rotation-config-json": text({
    section: "logging",
    noEffect: true,
    default: '{"maxsize":100,"maxage":0,"maxbackups":0,"localtime":false,"compress":false}',
    help: "How --enable-log-rotation rotates.",
  }),
  "warning-unary-request-duration": duration({
    section: "logging",
    default: 300,
    help: "Log unary requests that take longer.",
  }),
  "enable-distributed-tracing": boolean({
    section: "tracing",
    notYet: true,
    default: false,
    help: "Send spans to an OpenTelemetry collector.",
  }),
  "distributed-tracing-address": text({
    section: "tracing",
    noEffect: true,
    default: "localhost:4317",
    help: "The collector's address.",
  }),
  "distributed-tracing-service-name": text({
    section: "tracing",
    noEffect: true,
    default: "etcd",
    help: "Service name in spans.",
  }),
  "distributed-tracing-instance-id": text({
    section: "tracing",
    noEffect: true,
    default: "",
    help: "Service instance in spans.",
  }),
  "distributed-tracing-sampling-rate": integer({
    section: "tracing",
    noEffect: true,
    go: "int64",
    default: 0,
    help: "Sampled requests a million.",
  }),

  // Features
  "corrupt-check-time": duration({
    section: "features",
    default: 0,
    help: "Time between checks that all members hold equal data; 0 for never.",
  }),
  "compact-hash-check-time": duration({
    section: "features",
    default: 60_000,
    help: "Time between checks of compaction hashes, with --feature-gates=CompactHashCheck=true.",
  }),
  "compaction-batch-limit": integer({
    section: "features",
    go: "int64",
    default: 0,
    help: "Revisions deleted in one batch of a compaction; 0 for 1000.",
  }),
  "compaction-sleep-interval": duration({
    section: "features",
    default: 0,
    help: "Pause between batches of a compaction; 0 for 10ms.",
  }),
  "watch-progress-notify-interval": duration({
    section: "features",
    default: 0,
    help: "Time between progress notifications; 0 for 10m.",
  }),
  "warning-apply-duration": duration({
    section: "features",
    default: 100,
    help: "Log entries that take longer to apply.",
  }),
  "bootstrap-defrag-threshold-megabytes": integer({
    section: "features",
    default: 0,
    help: "Defragment at start when it frees this much; 0 for never.",
  }),
  "max-learners": integer({
    section: "features",
    scope: "cluster",
    go: "int64",
    default: 1,
    help: "Most learners in the cluster.",
  }),
  "downgrade-check-time": duration({
    section: "features",
    default: 5000,
    help: "Time between checks of a downgrade under way.",
  }),
  "force-new-cluster": boolean({
    section: "unsafe",
    notYet: true,
    default: false,
    help: "Make a cluster of one from this member's data.",
  }),
  "unsafe-no-fsync": boolean({
    section: "unsafe",
    default: false,
    help: "Do not wait for the disk: acknowledged writes can be lost.",
  }),
} as const;

export type OptionName = keyof typeof options;

/** etcd's old flags that are accepted, with a warning, and do nothing. */
export const ignoredFlags: readonly string[] = [
  "cluster-active-size",
  "cluster-remove-delay",
  "cluster-sync-interval",
  "config",
  "force",
  "max-result-buffer",
  "max-retry-attempts",
  "peer-heartbeat-interval",
  "peer-election-timeout",
  "retry-interval",
  "snapshot",
  "v",
  "vv",
];
