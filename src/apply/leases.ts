/** What a put must know of leases. */
export interface LeaseLookup {
  /** Whether the lease whose int64 ID has these two halves exists. */
  has(low: number, high: number): boolean;
}
