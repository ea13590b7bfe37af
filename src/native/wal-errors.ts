/**
 * Errors of the write-ahead log. `native/core/src/wal/error.rs` has the same names.
 */

/** Any error of the log. */
export class WalError extends Error {
  override readonly name: string = "WalError";
}

/** The operating system refused a file operation. */
export class WalIoError extends WalError {
  override readonly name = "WalIoError";
  /** The disk, or this user's share of it, is full. */
  readonly noSpace: boolean;

  constructor(message: string, noSpace: boolean) {
    super(message);
    this.noSpace = noSpace;
  }
}

/** Bytes are not what was written, so what was acknowledged may be missing. Nothing was changed. */
export class WalCorruptError extends WalError {
  override readonly name = "WalCorruptError";
  /** File name of the segment. */
  readonly segment: string;
  readonly offset: number;
  readonly reason: string;

  constructor(message: string, place: { segment: string; offset: number; reason: string }) {
    super(message);
    this.segment = place.segment;
    this.offset = place.offset;
    this.reason = place.reason;
  }
}

/** Another process has the log open. */
export class WalLockedError extends WalError {
  override readonly name = "WalLockedError";
}

/** There is no log in the folder. */
export class WalAbsentError extends WalError {
  override readonly name = "WalAbsentError";
}

/** A log is in the way of a new one. */
export class WalExistsError extends WalError {
  override readonly name = "WalExistsError";
}

/** The log was asked to hold what no correct member writes. */
export class WalInvalidError extends WalError {
  override readonly name = "WalInvalidError";
}

interface Described {
  readonly name: string;
  readonly message: string;
  readonly segment: string;
  readonly offset: number;
  readonly reason: string;
  readonly noSpace: boolean;
}

/** The error that Rust describes in `text`. */
export function walErrorOf(text: string): WalError {
  if (!text.startsWith("{")) return new WalError(text);
  const described = JSON.parse(text) as Described;
  switch (described.name) {
    case "WalIoError":
      return new WalIoError(described.message, described.noSpace);
    case "WalCorruptError":
      return new WalCorruptError(described.message, described);
    case "WalLockedError":
      return new WalLockedError(described.message);
    case "WalAbsentError":
      return new WalAbsentError(described.message);
    case "WalExistsError":
      return new WalExistsError(described.message);
    case "WalInvalidError":
      return new WalInvalidError(described.message);
    default:
      return new WalError(described.message);
  }
}
