/**
 * The `etcd` command: arguments, the start of one member, signals and exit codes.
 *
 * Exit codes are etcd's: 0 help and version, 1 a configuration or start that fails, 2 a flag that cannot be read;
 * SIGTERM and SIGINT stop in order and then end the process by that same signal.
 */
import { arch, platform } from "node:os";
import { DescriptorLimitError, startApi, type Api } from "../api/index.js";
import { createLogger, isLogLevel, LogOutputError, sourceStack, type RootLogger } from "../base/index.js";
import {
  ConfigError,
  helpText,
  loadConfig,
  LoadError,
  printConfig,
  usageText,
  UsageError,
  type Config,
  type ConfigWarning,
} from "../config/index.js";
import { memberIdText, serverVersionText } from "../membership/index.js";
import { endByNameOnFaults, exitNow } from "../native/index.js";
import { addServerMetrics, EtcdServer } from "../server/index.js";
import { productVersion } from "./version.js";

/** How long a stop may take, beside handing leadership over, before the process ends all the same. */
const stopMsMax = 1000;
/** Between the removal of this member from its cluster and its stop, as in etcd. */
const removedDelayMs = 1000;

const goArch: Readonly<Record<string, string>> = { x64: "amd64", ia32: "386" };

function printVersion(): void {
  const { name, version, revision } = productVersion();
  process.stdout.write(
    `etcd Version: ${serverVersionText}\nGit SHA: ${revision}\nGo Version: none (Node.js ${process.version})\n` +
      `Go OS/Arch: ${platform()}/${goArch[arch()] ?? arch()}\n${name} Version: ${version}\n`,
  );
}

/** Reads the command line; ends the process where there is nothing to start. */
function readCommandLine(): { config: Config; warnings: readonly ConfigWarning[] } {
  try {
    const loaded = loadConfig(process.argv.slice(2), process.env);
    if (loaded.kind === "config") return loaded;
    if (loaded.kind === "version") printVersion();
    else process.stdout.write(helpText());
    process.exit(0);
  } catch (error) {
    if (error instanceof UsageError) {
      process.stderr.write(`${error.message}\n${usageText}`);
      process.exit(2);
    }
    if (error instanceof ConfigError) refuse(error);
    if (error instanceof LoadError) stderrLogger().fatal(error.message, error.fields);
    else throw error;
    process.exit(1);
  }
}

/** Until the outputs that are asked for are known. */
function stderrLogger(): RootLogger {
  return createLogger({ level: "info", format: "json", outputs: ["stderr"] });
}

/** The configuration can be read but not used. */
function refuse(error: Error): never {
  stderrLogger().warn("failed to verify flags", { error: error.message });
  process.exit(1);
}

function makeLogger(config: Config): RootLogger {
  const { logLevel, logFormat, logOutputs } = config;
  if (!isLogLevel(logLevel)) {
    process.stderr.write(
      `unrecognized level: ${JSON.stringify(logLevel)}; --log-level is debug, info, warn, error, panic or fatal\n`,
    );
    process.exit(2);
  }
  const format = logFormat === "console" ? "console" : "json";
  try {
    return createLogger({ level: logLevel, format, outputs: logOutputs });
  } catch (error) {
    if (error instanceof LogOutputError) refuse(error);
    throw error;
  }
}

/** A running member, and how it ends. */
class Member {
  readonly #logger: RootLogger;
  #server: EtcdServer | null = null;
  #api: Api | null = null;
  #stopping = false;

  constructor(logger: RootLogger) {
    this.#logger = logger;
  }

  async start(config: Config): Promise<void> {
    const fatal = (message: string, fields: Readonly<Record<string, unknown>>): never => this.fail(message, fields);
    const api = startApi(config, this.#logger, process.argv.slice(1));
    this.#api = api;
    this.#logger.info("starting an etcd server", {
      "etcd-version": serverVersionText,
      "git-sha": productVersion().revision,
      "go-version": `Node.js ${process.version}`,
      "go-os": platform(),
      "go-arch": goArch[arch()] ?? arch(),
      ...printConfig(config),
    });
    const server = await EtcdServer.start({
      config,
      methods: api.methodPaths,
      logger: this.#logger,
      dataDirHeld: () => api.startHttp(fatal),
      fatal,
      alarmBoard: api.alarmBoard,
      unblocked: () => api.wake(),
      stateChanged: () => api.stateChanged(),
      removed: () => void this.#removed(),
    });
    this.#server = server;
    addServerMetrics(server);
    this.#logger.info("starting local member", {
      "local-member-id": memberIdText(server.memberId),
      "cluster-id": memberIdText(server.clusterId),
    });
    await server.core.ready;
    this.#logger.info("ready to serve client requests");
    // Clients come at that line, the version a moment later: their calls wait in the edge.
    await server.core.capable;
    await api.serve(server);
  }

  /** The member cannot go on. What was acknowledged is in the log; nothing more is written. */
  fail(message: string, fields: Readonly<Record<string, unknown>>): never {
    const { stack } = fields;
    this.#logger.fatal(message, typeof stack === "string" ? { ...fields, stack: sourceStack(stack) } : fields);
    exitNow(1);
    throw new Error("still here after the end");
  }

  async stop(signal: NodeJS.Signals): Promise<void> {
    if (this.#stopping) return;
    this.#stopping = true;
    this.#logger.info("received signal; shutting down", { signal: signal === "SIGINT" ? "interrupt" : "terminated" });
    this.#logger.info("closing etcd server");
    const leaveMsMax = this.#server?.core.cluster.transfer.leaveMsMax ?? 0;
    const limit = setTimeout(() => endBySignal(signal), stopMsMax + leaveMsMax);
    await this.#close();
    clearTimeout(limit);
    endBySignal(signal);
  }

  async #close(): Promise<void> {
    await this.#api?.close();
    await this.#server?.stop();
    this.#logger.info("closed etcd server");
  }

  /** The cluster goes on without this member, which stops once others have had time to hear of that from it. */
  async #removed(): Promise<void> {
    if (this.#stopping) return;
    this.#stopping = true;
    await new Promise((resolve) => setTimeout(resolve, removedDelayMs));
    this.#logger.warn("server error", { error: "the member has been permanently removed from the cluster" });
    this.#logger.warn("data-dir used by this member must be removed");
    setTimeout(() => exitNow(0), stopMsMax).unref();
    await this.#close();
    exitNow(0);
  }
}

/** Ends the process by the signal's own effect, so that its parent sees why; as PID 1 that has none. */
function endBySignal(signal: NodeJS.Signals): void {
  if (process.pid === 1) process.exit(0);
  process.removeAllListeners(signal);
  process.kill(process.pid, signal);
}

async function main(): Promise<void> {
  const { config, warnings } = readCommandLine();
  const logger = makeLogger(config);
  for (const { message, fields } of warnings) logger.warn(message, fields);
  const member = new Member(logger);
  process.on("uncaughtException", (error) =>
    member.fail("unexpected error", { error: error.message, stack: error.stack }),
  );
  endByNameOnFaults();
  for (const signal of ["SIGTERM", "SIGINT"] as const) process.on(signal, () => void member.stop(signal));
  try {
    await member.start(config);
  } catch (error) {
    if (error instanceof DescriptorLimitError) member.fail(error.message, error.fields);
    member.fail("discovery failed", { error: error instanceof Error ? error.message : String(error) });
  }
}

await main();
