/**
 * The server as `etcd` starts it, with half a second between two checkpoints of a lease instead of five minutes, for
 * which etcd has no flag: `node short-checkpoints.js FLAGS`. It ends by being killed.
 */
import { startApi } from "../../src/api/index.js";
import { createLogger } from "../../src/base/index.js";
import { loadConfig } from "../../src/config/index.js";
import { addServerMetrics, EtcdServer } from "../../src/server/index.js";

const leaseCheckpointMs = 500;

const loaded = loadConfig(process.argv.slice(2), {});
if (loaded.kind !== "config") throw new Error(`these arguments ask for ${loaded.kind}`);
const { config } = loaded;
const logger = createLogger({ level: "info", format: "json", outputs: ["stderr"] });
const fatal = (message: string, fields: Readonly<Record<string, unknown>>): never => {
  logger.fatal(message, fields);
  process.exit(1);
};
const api = startApi(config, logger, []);
const server = await EtcdServer.start({
  config,
  methods: api.methodPaths,
  logger,
  dataDirHeld: () => api.startHttp(fatal),
  fatal,
  alarmBoard: api.alarmBoard,
  unblocked: () => api.wake(),
  stateChanged: () => api.stateChanged(),
  removed: () => {},
  leaseCheckpointMs,
});
addServerMetrics(server);
await server.core.ready;
logger.info("ready to serve client requests");
await server.core.capable;
await api.serve(server);
