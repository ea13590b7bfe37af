/** What main tells the HTTP thread of the member whenever it changes: rare things that /health and /version show. */
export interface ServerState {
  readonly hasLeader: boolean;
  readonly isLearner: boolean;
  /** Numbers of etcdserverpb.AlarmType, in the order of the alarm list. */
  readonly alarms: readonly number[];
  /** "3.7.0"; undefined before it is decided. */
  readonly clusterVersion: string | undefined;
  readonly storageVersion: string | undefined;
}

/** Before main has told anything. */
export const unknownState: ServerState = {
  hasLeader: false,
  isLearner: false,
  alarms: [],
  clusterVersion: undefined,
  storageVersion: undefined,
};
