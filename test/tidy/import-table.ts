/**
 * Which folder of src/ may import which, and which packages. Whoever needs another edge changes this table and says
 * why in the commit. Every folder may import base.
 *
 * Edges beyond the plan's first table, each with its reason: storage/wal → native, for the writer's thread and
 * crc32c; api → config and membership, for listeners and the version text; bin → membership, metrics and native, for
 * the version text, the process's own series and the exit that runs no cleanup; apply → storage/snap, for the thread
 * that builds another store beside its own.
 */

export interface FolderRule {
  readonly folders: readonly string[];
  /** npm packages; Node's own modules are free except in `pure` folders. */
  readonly packages?: readonly string[];
  /** No I/O, no clock, no async: neither Node's modules nor promises. */
  readonly pure?: boolean;
}

const state = ["proto", "errors", "metrics", "storage/backend"];

const aboveServer = [
  "proto",
  "errors",
  "metrics",
  "config",
  "native",
  "raft",
  "storage/wal",
  "storage/snap",
  "storage/backend",
  "storage/mvcc",
  "lease",
  "auth",
  "membership",
  "apply",
  "peer",
];

/** A folder not yet there may be listed; one that is there and is not listed is a finding. */
export const importTable: Readonly<Record<string, FolderRule>> = {
  base: { folders: [], packages: ["pino"] },
  proto: { folders: [] },
  errors: { folders: [] },
  metrics: { folders: [], packages: ["prom-client"] },
  config: { folders: [], packages: ["yaml"] },
  native: { folders: [] },
  raft: { folders: ["proto"], pure: true },
  bolt: { folders: [] },
  "storage/wal": { folders: ["proto", "metrics", "native"] },
  "storage/snap": { folders: ["proto", "metrics", "native", "bolt", "storage/backend"] },
  "storage/backend": { folders: ["metrics", "native"], packages: ["lmdb"] },
  "storage/mvcc": { folders: state },
  lease: { folders: state },
  auth: { folders: state },
  membership: { folders: ["proto", "errors", "storage/backend"] },
  apply: { folders: [...state, "native", "storage/mvcc", "storage/snap", "lease", "auth", "membership"] },
  peer: { folders: ["proto", "metrics", "native"] },
  server: { folders: aboveServer },
  api: {
    folders: ["proto", "errors", "metrics", "config", "native", "membership", "server"],
    packages: ["@btc-vision/uwebsockets.js", "@rjweb/uws"],
  },
  client: { folders: ["proto", "errors"] },
  ctl: { folders: ["proto", "errors", "client"] },
  utl: { folders: ["proto", "errors", "bolt", "storage/wal", "storage/snap", "storage/backend", "storage/mvcc"] },
  bin: { folders: ["config", "membership", "metrics", "native", "server", "api", "ctl", "utl"] },
};

/**
 * Single imports past an index.ts. The generator cannot load the index.ts that re-exports what it is to generate; the
 * list of served RPCs goes into the README, and is nobody else's business.
 */
export const allowedInside: ReadonlySet<string> = new Set([
  "scripts/proto/decoder.ts → src/proto/descriptor.ts",
  "scripts/proto/plan.ts → src/proto/descriptor.ts",
  "scripts/generate-readme.ts → src/api/grpc/methods.ts",
]);
