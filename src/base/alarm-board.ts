/**
 * Which alarms are active, in memory that threads share: apply writes it before it answers the call that has changed
 * them, so that whoever has the answer and asks for the member's health finds it there.
 * One thread writes. Alarms are etcdserverpb.AlarmType numbers; those above 30 are not on the board.
 */
const typeMax = 30;

export class AlarmBoard {
  /** For another thread's `AlarmBoard`. */
  readonly memory: SharedArrayBuffer;
  readonly #bits: Int32Array;

  constructor(memory = new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT)) {
    this.memory = memory;
    this.#bits = new Int32Array(memory);
  }

  /** Whether the board can tell of this alarm. */
  static holds(alarm: number): boolean {
    return alarm >= 0 && alarm <= typeMax;
  }

  /** These are active, and no others. */
  write(alarms: Iterable<number>): void {
    let bits = 0;
    for (const alarm of alarms) if (AlarmBoard.holds(alarm)) bits |= 1 << alarm;
    Atomics.store(this.#bits, 0, bits);
  }

  /** Those that are active now, each once, in order. */
  read(): number[] {
    const bits = Atomics.load(this.#bits, 0);
    const alarms: number[] = [];
    for (let alarm = 0; alarm <= typeMax; alarm++) if ((bits & (1 << alarm)) !== 0) alarms.push(alarm);
    return alarms;
  }
}
