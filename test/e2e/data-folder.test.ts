/**
 * Data folders that cannot be used, or no longer be written: refused beside a real etcd's exit code and with what to
 * do, or served as far as it goes, and nothing is lost.
 */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { chmod, chown, mkdir, readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import {
  encodeMessage,
  etcdBinaries,
  freePorts,
  GrpcClient,
  type GrpcReply,
  Member,
  ourCommand,
  temporaryFolder,
  type MemberOptions,
} from "../support/index.js";

const cache = await etcdBinaries();
const ours = ourCommand();
const isRoot = process.getuid?.() === 0;
/** Nobody's ID; what root starts as it has no rights but its own. */
const nobody = 65_534;

const cleanups: (() => Promise<void>)[] = [];
after(async () => {
  for (const clean of cleanups.toReversed()) await clean();
});

const newFolder = async (): Promise<string> => {
  const folder = await temporaryFolder();
  cleanups.push(folder.remove);
  return folder.path;
};

const newOptions = async (command: readonly string[], dataDir: string): Promise<MemberOptions> => {
  const [clientPort = 0, peerPort = 0] = await freePorts(2);
  return { command, dataDir, clientPort, peerPort };
};

const endOf = (member: Member): string => member.log.slice(-4).join("\n");

/** Exit code and last lines of a process that must end by itself. */
const refusal = async (options: MemberOptions): Promise<{ code: number | null; log: string }> => {
  const member = Member.launch(options);
  const timer = setTimeout(() => member.signal("SIGKILL"), 30_000);
  const { code } = await member.exited;
  clearTimeout(timer);
  return { code, log: endOf(member) };
};

interface Unusable {
  readonly name: string;
  /** Makes it in an empty folder and returns the --data-dir. */
  readonly make: (folder: string) => Promise<string>;
  readonly says: RegExp;
  /** Run by a user that is not root, in a folder of its own. */
  readonly asNobody?: boolean;
}

const unusable: readonly Unusable[] = [
  {
    name: "a file",
    make: async (folder) => {
      await writeFile(join(folder, "data"), "");
      return join(folder, "data");
    },
    says: /data is not a folder\. Choose another --data-dir/,
  },
  {
    name: "a folder below a file",
    make: async (folder) => {
      await writeFile(join(folder, "file"), "");
      return join(folder, "file", "data");
    },
    says: /file is not a folder\. Choose another --data-dir/,
  },
  {
    name: "a folder without the right to write",
    make: async (folder) => {
      await mkdir(join(folder, "data"), { mode: 0o500 });
      if (isRoot) await chown(join(folder, "data"), nobody, nobody);
      return join(folder, "data");
    },
    says: /data cannot be used: this process runs as user \d+ .*mode 500.*chown/,
    asNobody: true,
  },
];

/** Whether another user gets as far as the program at all. */
const canRunAsNobody =
  !isRoot || spawnSync(ours[0]!, [...ours.slice(1), "--version"], { uid: nobody, gid: nobody }).status === 0;

for (const { name, make, says, asNobody = false } of unusable) {
  const skip =
    cache.kind === "skipped" ? cache.reason : asNobody && !canRunAsNobody && "nobody may not enter this folder";
  test(`${name} in place of the data folder ends the start as a real etcd's, with what to do`, { skip }, async () => {
    assert.ok(cache.kind === "ready");
    const folder = await newFolder();
    await chmod(folder, 0o755);
    const dataDir = await make(folder);
    const before = await readdir(folder, { recursive: true });
    const user = asNobody && isRoot ? { userId: nobody } : {};
    const refused = await refusal({ ...(await newOptions(ours, dataDir)), ...user });
    assert.equal(refused.code, 1, refused.log);
    assert.match(refused.log, says);
    assert.deepEqual(await readdir(folder, { recursive: true }), before, "nothing was made");
    // Its program lies where only root gets to.
    if (!asNobody) assert.equal((await refusal(await newOptions([cache.binaries.etcd], dataDir))).code, refused.code);
  });
}

const put = async (port: number, key: string, bytes = 10): Promise<GrpcReply> => {
  const client = new GrpcClient(port);
  const value = Buffer.alloc(bytes, key).toString("base64");
  const request = encodeMessage("etcdserverpb.PutRequest", { key: Buffer.from(key).toString("base64"), value });
  const reply = await client.unary("/etcdserverpb.KV/Put", request);
  client.close();
  return reply;
};

const has = async (port: number, key: string): Promise<boolean> => {
  const client = new GrpcClient(port);
  const request = encodeMessage("etcdserverpb.RangeRequest", { key: Buffer.from(key).toString("base64") });
  const reply = await client.unary("/etcdserverpb.KV/Range", request);
  client.close();
  assert.equal(reply.status, 0, reply.message);
  return reply.messages[0]?.includes(key) === true;
};

const putMsMax = 60_000;

/** Puts until one is answered so. */
const putUntil = async (port: number, prefix: string, matches: (reply: GrpcReply) => boolean): Promise<void> => {
  const end = performance.now() + putMsMax;
  for (let i = 0; ; i++) {
    const reply = await put(port, `${prefix}${i}`);
    if (matches(reply)) return;
    assert.ok(performance.now() < end, `still ${reply.status} ${reply.message}`);
    await delay(100);
  }
};

/** A file system of its own whose size can change; a string says why there is none. */
const newDisk = async (megabytes: number): Promise<{ path: string; resize: (megabytes: number) => void } | string> => {
  const path = await newFolder();
  const mount = (...args: string[]) => spawnSync("mount", args, { encoding: "utf8" });
  const made = mount("-t", "tmpfs", "-o", `size=${megabytes}m,mode=700`, "none", path);
  if (made.status !== 0) return `cannot mount a tmpfs: ${made.error?.message ?? made.stderr.trim()}`;
  cleanups.push(async () => void spawnSync("umount", ["-l", path]));
  return {
    path,
    resize: (size) => {
      const changed = mount("-o", `remount,size=${size}m`, path);
      assert.equal(changed.status, 0, changed.stderr);
    },
  };
};

/** Puts until the member ends (false) or refuses them by an alarm (true); `acknowledged` gets the keys. */
const fill = async (port: number, acknowledged: string[]): Promise<boolean> => {
  for (let i = 0; i < 200; i++) {
    const key = `last${i}`;
    const reply = await put(port, key, 1 << 20).catch(() => undefined);
    if (reply?.status === 0) acknowledged.push(key);
    else return reply?.message === noSpaceText;
  }
  throw new Error("200 MiB found room where there is none");
};

const noSpaceText = "etcdserver: mvcc: database space exceeded";

test("on a full disk reads go on, room ends the alarm, and what was acknowledged outlives the member's end", async (t) => {
  const disk = await newDisk(1_000);
  if (typeof disk === "string") return t.skip(disk);
  const options = await newOptions(ours, join(disk.path, "data"));
  const { clientPort } = options;
  const member = await Member.start(options);
  // Also when it fails: a member that lives on would keep this process.
  t.after(() => member.kill());
  assert.equal((await put(clientPort, "kept")).status, 0);
  // The log's two segments take 72 MiB, and 192 MiB are the reserve.
  disk.resize(150);
  await putUntil(clientPort, "refused", ({ message }) => message === noSpaceText);
  assert.ok(await has(clientPort, "kept"));
  disk.resize(1_000);
  await putUntil(clientPort, "again", ({ status }) => status === 0);
  // Full at once, before the alarm can be raised: the member must end, by name.
  disk.resize(74);
  const acknowledged: string[] = [];
  const isAlive = await fill(clientPort, acknowledged);
  if (isAlive) await member.stop();
  const exit = await member.exited;
  t.diagnostic(`ended with ${JSON.stringify(exit)} after ${acknowledged.length} more puts`);
  if (!isAlive) {
    assert.equal(exit.code, 1);
    assert.match(endOf(member), /"level":"fatal".*(No space left|ENOSPC|EIO).*make room/i);
  }
  // Whether it starts now or not, nothing may be lost by it.
  const meanwhile = Member.launch(options);
  await Promise.race([meanwhile.exited, meanwhile.ready().catch(() => {})]);
  await meanwhile.kill();
  disk.resize(1_000);
  const again = await Member.start(options);
  t.after(() => again.kill());
  for (const key of ["kept", ...acknowledged]) assert.ok(await has(clientPort, key), key);
});
