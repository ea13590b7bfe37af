/** What a server's /metrics says of its WAL's fsyncs: ours and etcd's have the same histogram. */
const boundSeconds = 0.001;

export interface FsyncCounts {
  readonly all: number;
  /** Those within 1 ms, the lowest bound. */
  readonly fast: number;
}

export async function readFsyncs(address: string): Promise<FsyncCounts> {
  const text = await (await fetch(`http://${address}/metrics`)).text();
  const name = "etcd_disk_wal_fsync_duration_seconds";
  const of = (series: string): number => {
    const line = text.split("\n").find((each) => each.startsWith(`${name}${series} `));
    if (line === undefined) throw new Error(`/metrics of ${address} has no ${name}${series}`);
    return Number(line.slice(line.lastIndexOf(" ") + 1));
  };
  return { all: of("_count"), fast: of(`_bucket{le="${boundSeconds}"}`) };
}

/** The share of fsyncs between two readings that took at most 1 ms. */
export function fastShare(before: FsyncCounts, after: FsyncCounts): number {
  return (after.fast - before.fast) / (after.all - before.all);
}
