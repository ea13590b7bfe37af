/** What is wrong with a bbolt file. The bytes come from elsewhere: nothing about them is ever asserted. */

/**
 * - meta: neither meta page is sound: not a bbolt file, or its head is damaged
 * - short: the file ends before its last page
 * - pointer: a page number that leads nowhere, or where it must not
 * - page: a page's header or elements make no sense
 * - bucket: no such bucket, or its header makes no sense
 * - order: keys do not ascend, or lie outside of their page's range
 */
export type BoltFault = "meta" | "short" | "pointer" | "page" | "bucket" | "order";

export class BoltError extends Error {
  override readonly name = "BoltError";
  readonly fault: BoltFault;

  constructor(fault: BoltFault, message: string) {
    super(`bolt: ${message}`);
    this.fault = fault;
  }
}
