/** The header `Grpc-Timeout` of a gateway request: an integer and a unit, "1500m". */

const unitMs: Readonly<Record<string, number>> = { H: 3_600_000, M: 60_000, S: 1000, m: 1, u: 1e-3, n: 1e-6 };

/** Milliseconds; undefined when the header is malformed. */
export function parseGrpcTimeout(text: string): number | undefined {
  const match = /^([+-]?[0-9]+)([HMSmun])$/.exec(text);
  if (!match || !Number.isSafeInteger(Number(match[1]))) return undefined;
  return Number(match[1]) * unitMs[match[2]!]!;
}
