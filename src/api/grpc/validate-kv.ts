/**
 * Checks of KV requests as they come from a client: first whether they parse, then etcd's own rules in etcd's order.
 * Range, Put and DeleteRange are read in place; a Txn is decoded. One instance is used again and again; what it holds
 * of a request is good until the next check of that kind. Thread: main.
 */
import {
  ErrEmptyKey,
  ErrInvalidSortOption,
  ErrLeaseProvided,
  ErrRangeStreamRevisionFilters,
  ErrRangeStreamSortOrder,
  type EtcdError,
  ErrTooManyOps,
  ErrValueProvided,
  unmarshalMessageError,
  unmarshalRequestError,
} from "../../errors/index.js";
import {
  DeleteRangeScan,
  invalidWireFormat,
  mergeTxnRequest,
  newTxnRequest,
  PutScan,
  RangeScan,
  SortOrder,
  SortTarget,
  type TxnRequest,
  TxnRequestDescriptor,
  validate,
  validatedDepth,
  WireReader,
} from "../../proto/index.js";
import { checkTxn, isSortOptionKnown } from "./validate-txn.js";

/** A txn nested deeper than this is refused even if max-txn-ops would let it pass: decoding it would take the stack. */
const txnLevelsMax = 1000;
const malformedText = `proto: ${invalidWireFormat}`;

/** Checks of KV requests; `undefined` means that a request may go on. */
export class KvValidator {
  readonly range = new RangeScan();
  readonly put = new PutScan();
  readonly deleteRange = new DeleteRangeScan();
  /** The Txn that passed `checkTxn` last; its bytes fields are views of the request's bytes. */
  txn: TxnRequest = newTxnRequest();
  readonly #txnOpsMax: number;

  constructor(options: { txnOpsMax: number }) {
    this.#txnOpsMax = options.txnOpsMax;
  }

  checkRange(bytes: Uint8Array, start: number, end: number): EtcdError | undefined {
    if (!this.range.scan(bytes, start, end)) return unmarshalRequestError(malformedText);
    return this.#checkRangeFields();
  }

  /** Of KV.RangeStream. */
  checkRangeStream(bytes: Uint8Array, start: number, end: number): EtcdError | undefined {
    const range = this.range;
    if (!range.scan(bytes, start, end)) return unmarshalMessageError(malformedText);
    const error = this.#checkRangeFields();
    if (error) return error;
    const isDefaultOrder =
      range.sortOrder === SortOrder.NONE ||
      (range.sortOrder === SortOrder.ASCEND && range.sortTarget === SortTarget.KEY);
    if (!isDefaultOrder) return new ErrRangeStreamSortOrder();
    const bounds = [range.minModRevision, range.maxModRevision, range.minCreateRevision, range.maxCreateRevision];
    return bounds.some((bound) => bound !== 0) ? new ErrRangeStreamRevisionFilters() : undefined;
  }

  checkPut(bytes: Uint8Array, start: number, end: number): EtcdError | undefined {
    const put = this.put;
    if (!put.scan(bytes, start, end)) return unmarshalRequestError(malformedText);
    if (put.keyStart === put.keyEnd) return new ErrEmptyKey();
    if (put.ignoreValue && put.valueStart !== put.valueEnd) return new ErrValueProvided();
    return put.ignoreLease && put.hasLease ? new ErrLeaseProvided() : undefined;
  }

  checkDeleteRange(bytes: Uint8Array, start: number, end: number): EtcdError | undefined {
    if (!this.deleteRange.scan(bytes, start, end)) return unmarshalRequestError(malformedText);
    return this.deleteRange.keyStart === this.deleteRange.keyEnd ? new ErrEmptyKey() : undefined;
  }

  checkTxn(bytes: Uint8Array, start: number, end: number): EtcdError | undefined {
    const text = validate(TxnRequestDescriptor, bytes, start, end);
    if (text !== undefined) return unmarshalRequestError(text);
    // Each level of nesting takes at least one op of the budget, and two messages of depth (TxnRequest, RequestOp).
    // So what lies deeper than this is never looked at: some level above has more ops than its budget.
    const depth = 2 * (Math.min(this.#txnOpsMax, txnLevelsMax) + 2);
    const txn = newTxnRequest();
    mergeTxnRequest(txn, new WireReader(bytes, start, depth, true), end);
    const error = checkTxn(txn, this.#txnOpsMax);
    if (error) return error;
    if (validatedDepth() > depth) return new ErrTooManyOps();
    this.txn = txn;
    return undefined;
  }

  #checkRangeFields(): EtcdError | undefined {
    if (this.range.keyStart === this.range.keyEnd) return new ErrEmptyKey();
    return isSortOptionKnown(this.range) ? undefined : new ErrInvalidSortOption();
  }
}
