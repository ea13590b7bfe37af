/**
 * `npm start -- <flags>`: set-up where it is missing, then dist/bin/etcd in this same process, so that signals and
 * the exit status are the server's own.
 */
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { root, setUpOrExit } from "./setup.mjs";

await setUpOrExit();
const command = join(root, "dist", "bin", "etcd");
process.argv[1] = command;
await import(pathToFileURL(command).href);
