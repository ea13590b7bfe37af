/**
 * Builds the real etcd, and the apiserver's tests, into their cache where they are missing, which can take minutes: a
 * step of its own, so that it comes out of no test's budget. Without Go there is nothing to do; the tests that need
 * it are then skipped.
 */
import { apiserverTests, etcdBinaries } from "../support/index.js";

const cache = await etcdBinaries();
process.stdout.write(cache.kind === "ready" ? `etcd to compare with: ${cache.binaries.etcd}\n` : `${cache.reason}\n`);
await apiserverTests();
