/**
 * A main thread that knows nothing itself: the edge with the HTTP worker behind it, and every call, from either, is
 * answered by a real etcd. So the HTTP side is compared with etcd's without a store of ours.
 */
import { HttpThread, type ServerState } from "../../src/api/http/index.js";
import { AlarmBoard, copyOf, silentLogger } from "../../src/base/index.js";
import {
  CallBatchReader,
  CallKind,
  type Edge,
  InboxBuffer,
  Mailbox,
  MetadataTag,
  replyBatch,
  ReplyBatchWriter,
  ReplyKind,
  setGatewayMailbox,
  startEdge,
} from "../../src/native/index.js";
import { GrpcClient } from "../support/index.js";

export const servedPaths = [
  "/etcdserverpb.KV/Range",
  "/etcdserverpb.KV/Put",
  "/etcdserverpb.KV/DeleteRange",
  "/etcdserverpb.KV/Txn",
  "/etcdserverpb.Maintenance/Alarm",
  "/etcdserverpb.Maintenance/Status",
  "/etcdserverpb.Maintenance/HashKV",
  "/etcdserverpb.Cluster/MemberList",
  "/etcdserverpb.Auth/AuthStatus",
] as const;

/** etcd's receive limit: --max-request-bytes and 512 KiB. */
export const messageBytesMax = 1_572_864 + 524_288;

interface Parts {
  readonly edge: Edge;
  readonly http: HttpThread;
  readonly grpc: GrpcClient;
  readonly mailbox: Mailbox;
  readonly alarmBoard: AlarmBoard;
}

export class FakeMain {
  readonly http: HttpThread;
  /** What apply writes in a member. */
  readonly alarmBoard: AlarmBoard;
  readonly port: number;
  /** A port for HTTP alone, and one for metrics and health checks alone. */
  readonly httpPort: number;
  readonly metricsPort: number;
  readonly #edge: Edge;
  readonly #grpc: GrpcClient;
  readonly #mailbox: Mailbox;

  static async start(options: { socketPath: string; etcdPort: number; state: ServerState }): Promise<FakeMain> {
    const { socketPath, etcdPort, state } = options;
    const grpc = new GrpcClient(etcdPort);
    const mailbox = new Mailbox(16 << 20);
    const alarmBoard = new AlarmBoard();
    setGatewayMailbox(mailbox.handle);
    const inbox = new InboxBuffer();
    const edge = startEdge(
      {
        listeners: [{ host: "127.0.0.1", port: 0 }],
        methods: servedPaths.map((path) => ({ path, kind: 0 })),
        receiveBytesMax: messageBytesMax,
        maxConcurrentStreams: 2 ** 32 - 1,
        httpSocketPath: socketPath,
        httpListeners: [socketPath, `${socketPath}-m`].map((path) => ({
          address: { host: "127.0.0.1", port: 0 },
          socketPath: path,
        })),
      },
      () => {
        for (;;) {
          const length = inbox.receive((into) => edge.drain(into));
          if (length === 0) return;
          forward(grpc, inbox.bytes, length);
          inbox.done(length);
        }
      },
    );
    const http = await HttpThread.start({
      data: {
        socketPath,
        metricsSocketPath: `${socketPath}-m`,
        logsDebug: false,
        slowAfterMs: 300,
        mailboxHandle: mailbox.handle,
        served: servedPaths,
        enableGateway: true,
        corsOrigins: ["*"],
        hostWhitelist: ["*"],
        serverVersion: "3.7.1",
        messageBytesMax,
        requestTimeoutMs: 7000,
        state,
        alarmBoard: alarmBoard.memory,
      },
      debugVars: () => "{}",
      metricsTexts: async () => ["# HELP fake_metric From main.\n# TYPE fake_metric gauge\nfake_metric 1\n"],
      onCallEnded: () => {},
      logger: silentLogger,
      onFailure: (error) => {
        throw error;
      },
    });
    // Clients' requests wait for it.
    http.setState(state);
    return new FakeMain({ edge, http, grpc, mailbox, alarmBoard });
  }

  private constructor({ edge, http, grpc, mailbox, alarmBoard }: Parts) {
    this.#edge = edge;
    this.http = http;
    this.#grpc = grpc;
    this.#mailbox = mailbox;
    this.alarmBoard = alarmBoard;
    const [port = 0, httpPort = 0, metricsPort = 0] = edge.addresses.map((address) =>
      Number(address.split(":").at(-1)),
    );
    this.port = port;
    this.httpPort = httpPort;
    this.metricsPort = metricsPort;
  }

  async stop(): Promise<void> {
    await this.http.close();
    setGatewayMailbox(null);
    this.#mailbox.close();
    await this.#edge.close(0);
    this.#grpc.close();
  }
}

function forward(grpc: GrpcClient, bytes: Uint8Array, length: number): void {
  const reader = new CallBatchReader();
  reader.reset(bytes, length);
  while (reader.next()) {
    if (reader.kind !== CallKind.Call) continue;
    const token = reader.metadata(MetadataTag.Token);
    const message = copyOf(reader.bytes, reader.messageStart, reader.messageEnd);
    void answer(grpc, reader.callId, servedPaths[reader.method]!, message, token);
  }
}

async function answer(
  grpc: GrpcClient,
  callId: number,
  path: string,
  message: Uint8Array,
  token: Uint8Array | undefined,
): Promise<void> {
  const headers = token ? { authorization: Buffer.from(token).toString("latin1") } : {};
  const reply = await grpc.unary(path, message, headers);
  const writer = new ReplyBatchWriter();
  if (reply.status === 0) writer.message(callId, ReplyKind.MessageAndEnd, reply.messages[0]!);
  else writer.status(callId, reply.status, reply.message);
  replyBatch(writer.bytes, writer.length);
}
