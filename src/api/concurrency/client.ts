/** What locks and elections need of a member, in the name of one caller. */
import type {
  DeleteRangeRequestInit,
  DeleteRangeResponse,
  LeaseGrantRequestInit,
  LeaseGrantResponse,
  RangeRequestInit,
  RangeResponse,
  TxnRequestInit,
  TxnResponse,
  WatchCreateRequestInit,
  WatchResponse,
} from "../../proto/index.js";

/** Every call rejects with an EtcdError when the member refuses it. */
export interface ConcurrencyClient {
  /** The caller wants no answer any more: it has cancelled, or its deadline has passed. */
  readonly isGone: boolean;
  range(request: RangeRequestInit): Promise<RangeResponse>;
  deleteRange(request: DeleteRangeRequestInit): Promise<DeleteRangeResponse>;
  txn(request: TxnRequestInit): Promise<TxnResponse>;
  grantLease(request: LeaseGrantRequestInit): Promise<LeaseGrantResponse>;
  /**
   * What one watch answers, its creation included, until the reader stops. Throws once the caller is gone; ends when
   * the member ends the watch.
   */
  watch(request: WatchCreateRequestInit): AsyncIterable<WatchResponse>;
}
