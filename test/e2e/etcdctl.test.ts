/**
 * An unmodified etcdctl 3.7 against the real etcd and against ours: what the quick start does, in
 * every output format, must print the same and end with the same status.
 */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { etcdBinaries, ourCommand } from "../support/index.js";
import { runProgram, startPair, type PairMember } from "./pair.js";

interface Step {
  readonly args: readonly string[];
  readonly stdin?: string;
}

const words = (line: string, stdin?: string): Step => ({
  args: line.split(" ").map((word) => word.replaceAll("␣", " ").replaceAll("∅", "")),
  ...(stdin === undefined ? {} : { stdin }),
});

const txn = `mod("foo") > "0"
value("foo") = "bar"

get foo
put new value␣of␣new
del gone

get never

`.replaceAll("␣", "_");

const failingTxn = `create("foo") = "0"

put never x

get foo
get --prefix k
txn_is_no_op
`;

const formats = ["simple", "json", "fields", "table"] as const;

const inFormats = (line: string): Step[] => formats.map((format) => words(`${line} -w ${format}`));

const sections: Readonly<Record<string, readonly Step[]>> = {
  "put and get": [
    words("put foo bar"),
    words("get foo"),
    ...inFormats("get foo"),
    words("get foo --hex"),
    words("get foo --print-value-only"),
    words("get nothing"),
    words("get nothing -w json"),
    words("put foo bar2 --prev-kv"),
    words("put foo --ignore-value"),
    words("put foo bar --prev-kv -w json"),
    words("put foo baz --prev-kv -w fields"),
    words("put foo bar -w table"),
    words("put from-stdin", "a value\nof two lines"),
    words("get from-stdin"),
    words("put -- -dash value"),
    words("put empty ∅"),
    words("get empty -w json"),
    words("put missing --ignore-value"),
    words("put foo x --lease=1234abcd"),
    words("put foo x --ignore-value"),
    words("put"),
    words("put é ü"),
    words("get é -w json"),
    words("get é -w fields"),
  ],
  ranges: [
    ...["k1", "k2", "k3", "k4", "k5"].map((key, i) => words(`put ${key} v${9 - i}`)),
    words("put k3 again"),
    words("get k --prefix"),
    ...inFormats("get k --prefix"),
    words("get k2 k4"),
    words("get k4 k2"),
    words("get k3 --from-key"),
    words("get ∅ --prefix --keys-only"),
    words("get ∅ --from-key --keys-only"),
    words("get k --prefix --limit=2 -w json"),
    words("get k --prefix --count-only -w fields"),
    words("get k --prefix --count-only"),
    ...["CREATE", "KEY", "MODIFY", "VALUE", "VERSION"].flatMap((target) => [
      words(`get k --prefix --sort-by=${target} --order=ASCEND --limit=4`),
      words(`get k --prefix --sort-by=${target} --order=DESCEND`),
    ]),
    words("get k --prefix --order=NONSENSE"),
    words("get k --prefix --rev=10 -w json"),
    words("get foo --rev=1"),
    words("get foo --rev=2"),
    words("get foo --rev=100000"),
    words("get foo --consistency=s"),
    words("get k --prefix --min-mod-rev=12 -w json"),
    words("get k --prefix --max-mod-rev=12 -w json"),
    words("get k --prefix --min-create-rev=12 --max-create-rev=14 -w json"),
    words("get k --prefix --from-key"),
    words("get k --prefix --stream"),
    words("get k --prefix --stream --limit=2"),
    words("get k --prefix --stream --rev=10"),
    words("get k --prefix --stream --keys-only"),
    words("get k --prefix --stream --count-only"),
    words("get k --prefix --stream --order=DESCEND"),
    words("get k --prefix --stream -w json"),
    words("get"),
  ],
  txn: [
    words("txn", txn),
    words("txn -i", txn),
    words("txn -w json", txn),
    words("txn -w fields", txn),
    words("txn -w table", txn),
    words("txn", failingTxn.replace("txn_is_no_op\n", "")),
    words("txn", failingTxn),
    words("txn", 'ver("k1") = "1"\nc("k1") > "1"\nval("k1") < "z"\n\nput k1 x\nput k1 y\n\n\n'),
    words("txn", "\nput a b\ndel a\n\n\n"),
    words("txn", "\n\n\n"),
    words("get new"),
  ],
  del: [
    words("del foo"),
    words("del foo"),
    words("put foo bar"),
    words("del foo --prev-kv"),
    words("put foo bar"),
    words("del foo --prev-kv -w json"),
    words("put foo bar"),
    words("del foo --prev-kv -w fields"),
    words("del k1 k3 --range"),
    words("del k --prefix --prev-kv"),
    words("del ∅ --prefix -w json"),
    words("del -- -dash -w table"),
    words("del x --from-key"),
    words("del"),
    words("get ∅ --prefix"),
  ],
  "members and endpoints": [
    ...inFormats("member list"),
    words("member list --hex -w json"),
    words("member list --consistency=s"),
    ...inFormats("endpoint health"),
    ...inFormats("endpoint status"),
    ...inFormats("endpoint hashkv"),
    words("endpoint hashkv --rev=5"),
    words("endpoint hashkv --rev=100000"),
    words("alarm list"),
    words("alarm list -w json"),
    words("alarm disarm"),
    words("version"),
  ],
  compaction: [
    words("put c 1"),
    words("compaction 5"),
    words("compaction 5"),
    words("compaction 8 --physical"),
    words("compaction 9 --physical -w json"),
    words("compaction 7 --physical"),
    words("compaction 100000"),
    words("compaction 0"),
    words("compaction"),
    words("compaction x"),
    words("compaction -- -1"),
    words("get c --rev=8"),
    words("get c --prefix --stream --rev=8"),
    words("get ∅ --prefix --rev=9 -w json"),
    words("endpoint hashkv --rev=8"),
    words("endpoint hashkv --rev=9"),
    words("endpoint hashkv --rev=6"),
    words("endpoint hashkv"),
  ],
};

/** IDs are equal, as both have the same URLs; ports, times, sizes and raft positions are not. */
const mask = (text: string, { member }: PairMember): string =>
  text
    .replaceAll(`127.0.0.1:${member.port}`, "ENDPOINT")
    .replaceAll(String(member.port), "PORT")
    .replace(/"took":\s*"[^"]*"|took = \S+|"Took"\s*:\s*\S+/g, "TOOK")
    .replace(/[\d.]+(µs|ms|s)\b/g, "TIME")
    .replace(/"ts":"[^"]*"|"caller":"[^"]*"|0x[0-9a-f]{6,}|LocalAddr: '[^']*'/g, "LOG")
    .replace(
      /("?(?:raft_?[Tt]erm|raftIndex|raftAppliedIndex|dbSize|dbSizeInUse|RaftTerm|RaftIndex|RaftAppliedIndex|DBSize|DBSizeInUse)"?\s*:\s*)"?\d+"?/g,
      "$1N",
    )
    .replace(/\d+(\.\d+)? [kM]?B\b/g, "SIZE")
    .replace(/\d+(\.\d+)?%/g, "PERCENT")
    .replace(/(true|false)([,│ ]+)(true|false)([,│ ]+)\d+([,│ ]+)\d+([,│ ]+)\d+/g, "$1$2$3$4N$5N$6N")
    .replace(/[ ─]+/g, (run) => run[0] ?? "");

const cache = await etcdBinaries();
const ours = ourCommand();
const skip = cache.kind === "skipped" ? cache.reason : false;

let pair: Awaited<ReturnType<typeof startPair>> | null = null;

before(async () => {
  if (cache.kind === "ready") pair = await startPair(cache.binaries.etcd, ours);
});

after(async () => pair?.stop());

const runStep = async (side: PairMember, step: Step): Promise<object> => {
  if (cache.kind === "skipped") throw new Error(cache.reason);
  const args = [`--endpoints=${side.endpoint}`, ...step.args];
  const options = step.stdin === undefined ? {} : { stdin: step.stdin };
  const { stdout, stderr, code } = await runProgram(cache.binaries.etcdctl, args, options);
  return { command: step.args.join(" "), code, stdout: mask(stdout, side), stderr: mask(stderr, side) };
};

for (const [name, steps] of Object.entries(sections)) {
  test(`etcdctl: ${name} (${steps.length} commands)`, { skip }, async (t) => {
    if (pair === null) throw new Error("not started");
    const { etcd, ours: other } = pair;
    let differing = 0;
    for (const step of steps) {
      const [expected, actual] = await Promise.all([runStep(etcd, step), runStep(other, step)]);
      try {
        assert.deepEqual(actual, expected);
      } catch (error) {
        differing++;
        t.diagnostic(error instanceof Error ? error.message : String(error));
      }
    }
    assert.equal(differing, 0, `${differing} of ${steps.length} commands differ`);
  });
}
