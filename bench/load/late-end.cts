/**
 * Preloaded into a server that runs with --cpu-prof: when it would end itself by a signal, it waits for its workers to
 * write their profiles, and then exits so that its own is written.
 */
const waitMs = 1000;

process.kill = (): true => {
  setTimeout(() => process.exit(0), waitMs);
  return true;
};
