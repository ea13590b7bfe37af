/** A process of its own with an edge that answers every unary call with its message; prints the port. Thread: main. */
import { echo, EdgeRig } from "./edge-rig.test-support.js";

const rig = new EdgeRig(echo);
process.stdout.write(`${rig.port}\n`);
