/** Versions as etcd writes them: "3.7.1" of a server, "3.7.0" of a cluster and of the storage, "3.7" in logs. */

export interface Version {
  readonly major: number;
  readonly minor: number;
  readonly patch: number;
}

/** The API that this server is compatible with. */
export const serverVersionText = "3.7.1";

/** Parses "X.Y.Z" (a suffix after "-" or "+" is left out); undefined when it is none. */
export function parseVersion(text: string): Version | undefined {
  const match = /^(\d+)\.(\d+)\.(\d+)(?:[-+].*)?$/.exec(text);
  return match === null ? undefined : { major: Number(match[1]), minor: Number(match[2]), patch: Number(match[3]) };
}

/** "3.7.0" → "3.7". */
export function clusterVersionText(version: Version): string {
  return `${version.major}.${version.minor}`;
}

/** Negative, zero, positive: by major, then minor. */
export function compareMajorMinor(a: Version, b: Version): number {
  return a.major - b.major || a.minor - b.minor;
}
