/**
 * Snapshots of other members on this one's disk: `member/snap/%016x.snap.db`, named by the index of their last entry,
 * as etcd names them. What is in one comes from elsewhere: all of it is checked before anything is changed.
 */
import { join } from "node:path";
import { BoltFile, checkBolt } from "../../bolt/index.js";
import { AlarmMemberDescriptor, KeyValueDescriptor, LeaseDescriptor, validate } from "../../proto/index.js";
import { Bucket, buckets, decodeUint64, metaKey, RevisionKeyReader } from "../backend/index.js";

/** Longer keys of small buckets cannot be stored. */
const smallKeyBytesMax = 1978;
const suffix = ".snap.db";

/** The file cannot be installed; the message says what is wrong with it. */
export class SnapshotFileError extends Error {
  override readonly name = "SnapshotFileError";
}

/** The state that a file should hold: that after the entry at `index`, of `term`. */
export interface SnapshotPosition {
  readonly index: number;
  readonly term: number;
}

export function snapshotPath(directory: string, index: number): string {
  return join(directory, `${index.toString(16).padStart(16, "0")}${suffix}`);
}

/** The index in the name of a snapshot's file; −1: it is none. */
export function snapshotIndexOf(name: string): number {
  return /^[0-9a-f]{16}\.snap\.db$/.test(name) ? Number.parseInt(name.slice(0, 16), 16) : -1;
}

/** Throws unless the file is a sound bbolt file of etcd's that holds the state at `position`. */
export function checkSnapshotFile(path: string, position: SnapshotPosition): void {
  const file = BoltFile.open(path);
  try {
    const [finding] = checkBolt(file);
    if (finding !== undefined) throw new SnapshotFileError(finding.message);
    checkMeta(file, position);
    checkRecords(file);
    for (const bucket of buckets) if (bucket !== Bucket.Key) checkSmall(file, bucket);
  } finally {
    file.close();
  }
}

function checkMeta(file: BoltFile, { index, term }: SnapshotPosition): void {
  const found = { index: metaNumber(file, metaKey.consistentIndex), term: metaNumber(file, metaKey.term) };
  if (found.index !== index || found.term !== term) {
    throw new SnapshotFileError(
      `it holds the state at entry ${found.index} of term ${found.term}, not at entry ${index} of term ${term}`,
    );
  }
}

function metaNumber(file: BoltFile, key: Uint8Array): number {
  for (const entry of entriesOf(file, Bucket.Meta)) {
    if (Buffer.compare(entry.key, key) === 0) return decodeUint64(entry.value);
  }
  throw new SnapshotFileError(`it has no ${Buffer.from(key).toString()}`);
}

function checkRecords(file: BoltFile): void {
  const reader = new RevisionKeyReader();
  for (const { key, value } of entriesOf(file, Bucket.Key)) {
    reader.read(key, 0, key.length);
    const fault = reader.main === 0 ? "revision 0" : validate(KeyValueDescriptor, value, 0, value.length);
    if (fault !== undefined) {
      throw new SnapshotFileError(`the record of revision ${reader.main}.${reader.sub} is damaged: ${fault}`);
    }
  }
}

function checkSmall(file: BoltFile, bucket: Bucket): void {
  for (const { key, value } of entriesOf(file, bucket)) {
    if (key.length === 0 || key.length > smallKeyBytesMax) {
      throw new SnapshotFileError(`the bucket ${bucket} has a key of ${key.length} bytes`);
    }
    const fault = faultOf(bucket, key, value);
    if (fault !== undefined) throw new SnapshotFileError(`an entry of the bucket ${bucket} is damaged: ${fault}`);
  }
}

/** What is wrong with an entry, as far as its form goes: once Raft counts on the snapshot, it must be readable. */
function faultOf(bucket: Bucket, key: Uint8Array, value: Uint8Array): string | undefined {
  switch (bucket) {
    case Bucket.Lease:
      return key.length === 8 ? validate(LeaseDescriptor, value, 0, value.length) : "no lease ID";
    case Bucket.Alarm:
      return validate(AlarmMemberDescriptor, key, 0, key.length);
    case Bucket.Members:
      return jsonFault(value);
    case Bucket.Meta:
      return Buffer.compare(key, metaKey.confState) === 0 ? jsonFault(value) : undefined;
    default:
      return undefined;
  }
}

function jsonFault(value: Uint8Array): string | undefined {
  try {
    const parsed: unknown = JSON.parse(Buffer.from(value).toString());
    return typeof parsed === "object" && parsed !== null ? undefined : "no JSON object";
  } catch (error) {
    return (error as Error).message;
  }
}

/** The entries of a bucket, none when it is not there. */
export function* entriesOf(file: BoltFile, bucket: Bucket): Generator<{ key: Uint8Array; value: Uint8Array }> {
  const header = file.bucket(bucket);
  if (header === undefined) return;
  for (const entry of file.entries(header)) {
    if (entry.isBucket) throw new SnapshotFileError(`the bucket ${bucket} holds another bucket`);
    yield entry;
  }
}
