/**
 * Keeps a reserve for the database. LMDB's file grows while transactions are written, and one that finds the disk
 * full cannot be undone: the member would have to stop. So writes are refused, by the NOSPACE alarm, while there is
 * still room for all that may be on its way; the alarm is taken back once there is more again.
 *
 * The log has a reserve of its own, its prepared segment, and tells when it cannot prepare the next; either shortage
 * counts. Thread: main.
 */

/** What is on its way at most: the backend's overlay, twice as its pages are copied on write, and the commit's pages. */
const reserveBytes = 192 << 20;
/** The alarm is taken back with so much more, so that it does not come and go. */
const returnBytes = reserveBytes + (64 << 20);

export interface DiskSpaceOptions {
  /** Bytes that this process may still write where the database is. */
  readonly freeBytes: () => Promise<number>;
  /** Whether the disk is short of space (`low`); called at each look, so that what came of it is put right again. */
  readonly report: (low: boolean) => void;
  /** The free space could not be read; nothing is concluded from that. */
  readonly failed: (error: unknown) => void;
}

export class DiskSpace {
  readonly #options: DiskSpaceOptions;
  #logLow = false;
  #databaseLow = false;
  #asking = false;

  constructor(options: DiskSpaceOptions) {
    this.#options = options;
  }

  /** The log cannot prepare its next segment, or can again. */
  log(low: boolean): void {
    this.#update(low, this.#databaseLow);
  }

  /** Looks at the disk, unless the last look is still under way: a disk that hangs is asked once. */
  async look(): Promise<void> {
    if (this.#asking) return;
    this.#asking = true;
    try {
      const free = await this.#options.freeBytes();
      this.#update(this.#logLow, free < (this.#databaseLow ? returnBytes : reserveBytes));
    } catch (error) {
      this.#options.failed(error);
    } finally {
      this.#asking = false;
    }
  }

  #update(logLow: boolean, databaseLow: boolean): void {
    this.#logLow = logLow;
    this.#databaseLow = databaseLow;
    this.#options.report(logLow || databaseLow);
  }
}
