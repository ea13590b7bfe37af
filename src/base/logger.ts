/**
 * The logger that every module is handed. The implementation (pino, etcd's field names) is made
 * in `bin/`; tests pass `silentLogger` or one that records.
 */

/** Fields of one log line, under etcd's names. bigint IDs are printed as the caller formats them. */
export type LogFields = Readonly<Record<string, unknown>>;

/** A structured logger: a constant message, and fields. */
export interface Logger {
  debug(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  error(message: string, fields?: LogFields): void;
  /** A logger whose lines carry `name` as etcd's `logger` field. */
  named(name: string): Logger;
}

const nothing = (): void => {};

/** Drops every line. */
export const silentLogger: Logger = {
  debug: nothing,
  info: nothing,
  warn: nothing,
  error: nothing,
  named: () => silentLogger,
};
