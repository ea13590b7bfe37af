/**
 * Every error that a client can see, one class each: gRPC code and etcd's exact text (reference/errors.md).
 * Texts that are put together from parts (unmarshalling, unknown methods, message sizes) have functions at the end.
 */
import { defineError, EtcdError } from "./etcd-error.js";
import { GrpcCode } from "./grpc-code.js";

// Requests on keys

export const ErrEmptyKey = defineError("ErrEmptyKey", GrpcCode.InvalidArgument, "etcdserver: key is not provided");
export const ErrKeyNotFound = defineError("ErrKeyNotFound", GrpcCode.InvalidArgument, "etcdserver: key not found");
export const ErrValueProvided = defineError(
  "ErrValueProvided",
  GrpcCode.InvalidArgument,
  "etcdserver: value is provided",
);
export const ErrLeaseProvided = defineError(
  "ErrLeaseProvided",
  GrpcCode.InvalidArgument,
  "etcdserver: lease is provided",
);
export const ErrTooManyOps = defineError(
  "ErrTooManyOps",
  GrpcCode.InvalidArgument,
  "etcdserver: too many operations in txn request",
);
export const ErrDuplicateKey = defineError(
  "ErrDuplicateKey",
  GrpcCode.InvalidArgument,
  "etcdserver: duplicate key given in txn request",
);
export const ErrInvalidClientApiVersion = defineError(
  "ErrInvalidClientApiVersion",
  GrpcCode.InvalidArgument,
  "etcdserver: invalid client api version",
);
export const ErrInvalidSortOption = defineError(
  "ErrInvalidSortOption",
  GrpcCode.InvalidArgument,
  "etcdserver: invalid sort option",
);
export const ErrCompacted = defineError(
  "ErrCompacted",
  GrpcCode.OutOfRange,
  "etcdserver: mvcc: required revision has been compacted",
);
export const ErrFutureRevision = defineError(
  "ErrFutureRevision",
  GrpcCode.OutOfRange,
  "etcdserver: mvcc: required revision is a future revision",
);
export const ErrNoSpace = defineError(
  "ErrNoSpace",
  GrpcCode.ResourceExhausted,
  "etcdserver: mvcc: database space exceeded",
);
export const ErrRequestTooLarge = defineError(
  "ErrRequestTooLarge",
  GrpcCode.InvalidArgument,
  "etcdserver: request is too large",
);

// Leases and watches

export const ErrLeaseNotFound = defineError(
  "ErrLeaseNotFound",
  GrpcCode.NotFound,
  "etcdserver: requested lease not found",
);
export const ErrLeaseExists = defineError(
  "ErrLeaseExists",
  GrpcCode.FailedPrecondition,
  "etcdserver: lease already exists",
);
export const ErrLeaseTtlTooLarge = defineError(
  "ErrLeaseTtlTooLarge",
  GrpcCode.OutOfRange,
  "etcdserver: too large lease TTL",
);
export const ErrWatchCanceled = defineError("ErrWatchCanceled", GrpcCode.Canceled, "etcdserver: watch canceled");

// Members

export const ErrMemberExists = defineError(
  "ErrMemberExists",
  GrpcCode.FailedPrecondition,
  "etcdserver: member ID already exist",
);
export const ErrPeerUrlExists = defineError(
  "ErrPeerUrlExists",
  GrpcCode.FailedPrecondition,
  "etcdserver: Peer URLs already exists",
);
export const ErrMemberBadUrls = defineError(
  "ErrMemberBadUrls",
  GrpcCode.InvalidArgument,
  "etcdserver: given member URLs are invalid",
);
export const ErrMemberNotFound = defineError("ErrMemberNotFound", GrpcCode.NotFound, "etcdserver: member not found");
export const ErrMemberNotLearner = defineError(
  "ErrMemberNotLearner",
  GrpcCode.FailedPrecondition,
  "etcdserver: can only promote a learner member",
);
export const ErrLearnerNotReady = defineError(
  "ErrLearnerNotReady",
  GrpcCode.FailedPrecondition,
  "etcdserver: can only promote a learner member which is in sync with leader",
);
export const ErrTooManyLearners = defineError(
  "ErrTooManyLearners",
  GrpcCode.FailedPrecondition,
  "etcdserver: too many learner members in cluster",
);
export const ErrClusterIdMismatch = defineError(
  "ErrClusterIdMismatch",
  GrpcCode.FailedPrecondition,
  "etcdserver: cluster ID mismatch",
);

// Auth

export const ErrRootUserNotExist = defineError(
  "ErrRootUserNotExist",
  GrpcCode.FailedPrecondition,
  "etcdserver: root user does not exist",
);
export const ErrRootRoleNotExist = defineError(
  "ErrRootRoleNotExist",
  GrpcCode.FailedPrecondition,
  "etcdserver: root user does not have root role",
);
export const ErrUserAlreadyExists = defineError(
  "ErrUserAlreadyExists",
  GrpcCode.FailedPrecondition,
  "etcdserver: user name already exists",
);
export const ErrUserEmpty = defineError("ErrUserEmpty", GrpcCode.InvalidArgument, "etcdserver: user name is empty");
export const ErrUserNotFound = defineError(
  "ErrUserNotFound",
  GrpcCode.FailedPrecondition,
  "etcdserver: user name not found",
);
export const ErrRoleAlreadyExists = defineError(
  "ErrRoleAlreadyExists",
  GrpcCode.FailedPrecondition,
  "etcdserver: role name already exists",
);
export const ErrRoleNotFound = defineError(
  "ErrRoleNotFound",
  GrpcCode.FailedPrecondition,
  "etcdserver: role name not found",
);
export const ErrRoleEmpty = defineError("ErrRoleEmpty", GrpcCode.InvalidArgument, "etcdserver: role name is empty");
export const ErrAuthFailed = defineError(
  "ErrAuthFailed",
  GrpcCode.InvalidArgument,
  "etcdserver: authentication failed, invalid user ID or password",
);
export const ErrPermissionNotGiven = defineError(
  "ErrPermissionNotGiven",
  GrpcCode.InvalidArgument,
  "etcdserver: permission not given",
);
export const ErrPermissionDenied = defineError(
  "ErrPermissionDenied",
  GrpcCode.PermissionDenied,
  "etcdserver: permission denied",
);
export const ErrRoleNotGranted = defineError(
  "ErrRoleNotGranted",
  GrpcCode.FailedPrecondition,
  "etcdserver: role is not granted to the user",
);
export const ErrPermissionNotGranted = defineError(
  "ErrPermissionNotGranted",
  GrpcCode.FailedPrecondition,
  "etcdserver: permission is not granted to the role",
);
export const ErrAuthNotEnabled = defineError(
  "ErrAuthNotEnabled",
  GrpcCode.FailedPrecondition,
  "etcdserver: authentication is not enabled",
);
export const ErrInvalidAuthToken = defineError(
  "ErrInvalidAuthToken",
  GrpcCode.Unauthenticated,
  "etcdserver: invalid auth token",
);
export const ErrInvalidAuthManagement = defineError(
  "ErrInvalidAuthManagement",
  GrpcCode.InvalidArgument,
  "etcdserver: invalid auth management",
);
export const ErrAuthOldRevision = defineError(
  "ErrAuthOldRevision",
  GrpcCode.InvalidArgument,
  "etcdserver: revision of auth store is old",
);

// The server and its cluster

export const ErrNoLeader = defineError("ErrNoLeader", GrpcCode.Unavailable, "etcdserver: no leader");
export const ErrNotLeader = defineError("ErrNotLeader", GrpcCode.FailedPrecondition, "etcdserver: not leader");
export const ErrLeaderChanged = defineError("ErrLeaderChanged", GrpcCode.Unavailable, "etcdserver: leader changed");
export const ErrNotCapable = defineError("ErrNotCapable", GrpcCode.FailedPrecondition, "etcdserver: not capable");
export const ErrStopped = defineError("ErrStopped", GrpcCode.Unavailable, "etcdserver: server stopped");
export const ErrTimeout = defineError("ErrTimeout", GrpcCode.Unavailable, "etcdserver: request timed out");
export const ErrTimeoutDueToLeaderFail = defineError(
  "ErrTimeoutDueToLeaderFail",
  GrpcCode.Unavailable,
  "etcdserver: request timed out, possibly due to previous leader failure",
);
export const ErrTimeoutDueToConnectionLost = defineError(
  "ErrTimeoutDueToConnectionLost",
  GrpcCode.Unavailable,
  "etcdserver: request timed out, possibly due to connection lost",
);
export const ErrTimeoutWaitAppliedIndex = defineError(
  "ErrTimeoutWaitAppliedIndex",
  GrpcCode.Unavailable,
  "etcdserver: request timed out, waiting for the applied index took too long",
);
export const ErrUnhealthy = defineError("ErrUnhealthy", GrpcCode.Unavailable, "etcdserver: unhealthy cluster");
export const ErrCorrupt = defineError("ErrCorrupt", GrpcCode.DataLoss, "etcdserver: corrupt cluster");
export const ErrNotSupportedForLearner = defineError(
  "ErrNotSupportedForLearner",
  GrpcCode.FailedPrecondition,
  "etcdserver: rpc not supported for learner",
);
export const ErrBadLeaderTransferee = defineError(
  "ErrBadLeaderTransferee",
  GrpcCode.FailedPrecondition,
  "etcdserver: bad leader transferee",
);
export const ErrRequestCanceled = defineError("ErrRequestCanceled", GrpcCode.Canceled, "etcdserver: request canceled");

// Downgrade

export const ErrWrongDowngradeVersionFormat = defineError(
  "ErrWrongDowngradeVersionFormat",
  GrpcCode.InvalidArgument,
  "etcdserver: wrong downgrade target version format",
);
export const ErrInvalidDowngradeTargetVersion = defineError(
  "ErrInvalidDowngradeTargetVersion",
  GrpcCode.InvalidArgument,
  "etcdserver: invalid downgrade target version",
);
export const ErrClusterVersionUnavailable = defineError(
  "ErrClusterVersionUnavailable",
  GrpcCode.FailedPrecondition,
  "etcdserver: cluster version not found during downgrade",
);
export const ErrDowngradeInProcess = defineError(
  "ErrDowngradeInProcess",
  GrpcCode.FailedPrecondition,
  "etcdserver: cluster has a downgrade job in progress",
);
export const ErrNoInflightDowngrade = defineError(
  "ErrNoInflightDowngrade",
  GrpcCode.FailedPrecondition,
  "etcdserver: no inflight downgrade job",
);

// Etcd means other codes for these, but they reach clients as Unknown (reference/errors.md, section 3)

export const ErrMemberNotEnoughStarted = defineError(
  "ErrMemberNotEnoughStarted",
  GrpcCode.Unknown,
  "etcdserver: re-configuration failed due to not enough started members",
);
export const ErrTooManyRequests = defineError("ErrTooManyRequests", GrpcCode.Unknown, "etcdserver: too many requests");
export const ErrTimeoutLeaderTransfer = defineError(
  "ErrTimeoutLeaderTransfer",
  GrpcCode.Unknown,
  "etcdserver: request timed out, leader transfer took too long",
);
export const ErrUnknownMethod = defineError("ErrUnknownMethod", GrpcCode.Unknown, "etcdserver: unknown method");

// Without the prefix "etcdserver: "

export const ErrContextCanceled = defineError("ErrContextCanceled", GrpcCode.Canceled, "context canceled");
export const ErrContextDeadlineExceeded = defineError(
  "ErrContextDeadlineExceeded",
  GrpcCode.DeadlineExceeded,
  "context deadline exceeded",
);
export const ErrProposalDropped = defineError("ErrProposalDropped", GrpcCode.Unknown, "raft proposal dropped");
export const ErrNotPrimaryLessor = defineError("ErrNotPrimaryLessor", GrpcCode.Unknown, "not a primary lessor");
export const ErrPasswordForNoPasswordUser = defineError(
  "ErrPasswordForNoPasswordUser",
  GrpcCode.Unknown,
  "auth: authentication failed, password was given for no password user",
);
export const ErrInvalidAuthOptions = defineError(
  "ErrInvalidAuthOptions",
  GrpcCode.Unknown,
  "auth: invalid auth options",
);
export const ErrVerifyOnlyKey = defineError(
  "ErrVerifyOnlyKey",
  GrpcCode.Unknown,
  "auth: token signing attempted with verify-only key",
);
export const ErrPasswordTooLong = defineError(
  "ErrPasswordTooLong",
  GrpcCode.Unknown,
  "bcrypt: password length exceeds 72 bytes",
);
export const ErrElectionNoLeader = defineError("ErrElectionNoLeader", GrpcCode.Unknown, "election: no leader");
export const ErrElectionNotLeader = defineError("ErrElectionNotLeader", GrpcCode.Unknown, "election: not leader");
export const ErrElectionLeaderMissing = defineError(
  "ErrElectionLeaderMissing",
  GrpcCode.Unknown,
  '"leader" field must be provided',
);
export const ErrElectionSessionExpired = defineError(
  "ErrElectionSessionExpired",
  GrpcCode.Unknown,
  "election: session expired",
);
export const ErrMutexSessionExpired = defineError(
  "ErrMutexSessionExpired",
  GrpcCode.Unknown,
  "mutex: session is expired",
);
export const ErrRangeStreamSortOrder = defineError(
  "ErrRangeStreamSortOrder",
  GrpcCode.Unimplemented,
  "RangeStream does not support custom sort orders",
);
export const ErrRangeStreamRevisionFilters = defineError(
  "ErrRangeStreamRevisionFilters",
  GrpcCode.Unimplemented,
  "RangeStream does not support revision filters",
);

/** A unary call's message that does not parse; `text` is the parser's. */
export function unmarshalRequestError(text: string): EtcdError {
  return new EtcdError(GrpcCode.Internal, `grpc: error unmarshalling request: ${text}`);
}

/** A message of a call with streams that does not parse. */
export function unmarshalMessageError(text: string): EtcdError {
  return new EtcdError(GrpcCode.Internal, `grpc: failed to unmarshal the received message: ${text}`);
}

/** A message beyond the receive limit, both in bytes. */
export function messageTooLargeError(length: number, max: number): EtcdError {
  return new EtcdError(GrpcCode.ResourceExhausted, `grpc: received message larger than max (${length} vs. ${max})`);
}

/** A path of a service or method that does not exist: "/package.Service/Method". */
export function unknownMethodError(path: string, services: ReadonlySet<string>): EtcdError {
  const slash = path.lastIndexOf("/");
  const service = path.slice(1, slash);
  const text = services.has(service)
    ? `unknown method ${path.slice(slash + 1)} for service ${service}`
    : `unknown service ${service}`;
  return new EtcdError(GrpcCode.Unimplemented, text);
}
