/** A lease's ID as one number; most of the code has it as its two halves of 32 bits. */

/** As etcd's uint64. */
export function leaseIdOf(low: number, high: number): bigint {
  return (BigInt(high) << 32n) | BigInt(low);
}

/** As the int64 of the protocol. */
export function signedLeaseIdOf(low: number, high: number): bigint {
  return BigInt.asIntN(64, leaseIdOf(low, high));
}
