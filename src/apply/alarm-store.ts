/**
 * Alarms that are active, one a (member, type), kept in the backend's `alarm` bucket: the key is the marshalled
 * AlarmMember, the value empty.
 * Thread: apply.
 */
import type { AlarmBoard } from "../base/index.js";
import { AlarmType, decodeAlarmMember, encodeAlarmMember } from "../proto/index.js";
import { Bucket, type Backend } from "../storage/backend/index.js";
import type { ActiveAlarm } from "./control.js";

const noValue = new Uint8Array(0);

export class AlarmStore {
  readonly #backend: Backend;
  readonly #board: AlarmBoard | undefined;
  #alarms: ActiveAlarm[] = [];

  /** Loads what the backend holds. `board` has the types of the active ones, before anybody is told of them. */
  constructor(backend: Backend, board?: AlarmBoard) {
    this.#backend = backend;
    this.#board = board;
    for (const { key } of backend.entries(Bucket.Alarm)) {
      const { memberID, alarm } = decodeAlarmMember(key);
      this.#alarms.push({ memberId: memberID, alarm });
    }
    this.#sort();
    this.#write();
  }

  /** Becomes what `other` is, as a snapshot has it. */
  adopt(other: AlarmStore): void {
    this.#alarms = other.#alarms;
    this.#write();
  }

  /** Of all types, in order of type and member. */
  get all(): readonly ActiveAlarm[] {
    return this.#alarms;
  }

  /** Those of one type; NONE asks for all. */
  get(alarm: number): readonly ActiveAlarm[] {
    return alarm === AlarmType.NONE ? this.#alarms : this.#alarms.filter((active) => active.alarm === alarm);
  }

  has(alarm: number): boolean {
    return this.#alarms.some((active) => active.alarm === alarm);
  }

  /** Also answers with an alarm that was active already. */
  activate(memberId: bigint, alarm: number): ActiveAlarm {
    const known = this.#find(memberId, alarm);
    if (known !== undefined) return known;
    const active = { memberId, alarm };
    this.#alarms = [...this.#alarms, active];
    this.#sort();
    this.#write();
    this.#backend.put(Bucket.Alarm, encodeAlarmMember({ memberID: memberId, alarm }), noValue);
    return active;
  }

  /** Undefined: it was not active. */
  deactivate(memberId: bigint, alarm: number): ActiveAlarm | undefined {
    const known = this.#find(memberId, alarm);
    if (known === undefined) return undefined;
    this.#alarms = this.#alarms.filter((active) => active !== known);
    this.#write();
    this.#backend.delete(Bucket.Alarm, encodeAlarmMember({ memberID: memberId, alarm }));
    return known;
  }

  #find(memberId: bigint, alarm: number): ActiveAlarm | undefined {
    return this.#alarms.find((active) => active.memberId === memberId && active.alarm === alarm);
  }

  #write(): void {
    this.#board?.write(this.#alarms.map(({ alarm }) => alarm));
  }

  #sort(): void {
    this.#alarms.sort((a, b) => a.alarm - b.alarm || (a.memberId < b.memberId ? -1 : 1));
  }
}
