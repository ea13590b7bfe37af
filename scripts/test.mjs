/**
 * `npm test` and `npm run check`: set-up where it is missing, then the suites of test/suites/.
 * A set-up that fails is a failed run, with the same closing line.
 */
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { root, setUp, SetupError } from "./setup.mjs";

try {
  await setUp();
} catch (error) {
  process.stderr.write(`\n${error instanceof SetupError ? error.message : error.stack}\n`);
  process.stdout.write("0 passed, 1 failed, 0 skipped\n");
  process.exit(1);
}
const { main } = await import(pathToFileURL(join(root, "dist", "test", "suites", "run.js")).href);
process.exitCode = await main(process.argv.slice(2));
