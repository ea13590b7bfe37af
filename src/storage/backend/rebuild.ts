/**
 * A new environment built beside the present one by another thread, to take its place: a copy of it without its free
 * pages, or what a snapshot file holds. Whatever goes wrong before the new one is in place leaves the present one as
 * it is.
 */

/** One rebuild. Its calls come in the order of either line: copy, finish, end; or build, replace, end. */
export interface Rebuild {
  /** Copies the present environment but for the last changes, while it is written. */
  copy(): Promise<void>;
  /** Copies the rest and puts the new environment in place. The present one must not be written any more. */
  finish(): Promise<void>;
  /** Builds the environment from a bbolt file, which is checked first. */
  build(file: string): Promise<void>;
  /** Puts the environment that was built in place. */
  replace(): Promise<void>;
  /** Gives up at the next occasion: calls under way reject. */
  cancel(): void;
  /** Closes what is open on that thread, the former environment with it, and removes what is left over. */
  end(): Promise<void>;
}

/** Starts a rebuild of the environment in `directory`, which has so many bytes in use. */
export type StartRebuild = (options: {
  readonly directory: string;
  readonly quotaBytes: number;
  readonly bytesInUse: number;
}) => Rebuild;

/** Why there is no new environment. */
export class RebuildError extends Error {
  override readonly name = "RebuildError";
  /** Whether the new one had begun to take the present one's place: nothing may be written any more. */
  readonly isFatal: boolean;

  constructor(message: string, isFatal: boolean) {
    super(message);
    this.isFatal = isFatal;
  }
}
