/** What a put must know of leases. */
export interface LeaseLookup {
  /** Whether the lease whose int64 ID has these two halves exists. */
  has(low: number, high: number): boolean;
}

/** Until leases are built (issue 5) none exists. */
export const noLeases: LeaseLookup = { has: () => false };
