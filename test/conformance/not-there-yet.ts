/**
 * The RPCs of etcd 3.7 that ours does not answer yet, with their gateway paths. They stay out of the
 * random sequences; whoever builds one takes it off this list and off the README's.
 */

/** Service → methods. */
export const notThereYet: Readonly<Record<string, readonly string[]>> = {
  "etcdserverpb.Auth": [
    "AuthEnable",
    "AuthDisable",
    "AuthStatus",
    "Authenticate",
    "UserAdd",
    "UserGet",
    "UserList",
    "UserDelete",
    "UserChangePassword",
    "UserGrantRole",
    "UserRevokeRole",
    "RoleAdd",
    "RoleGet",
    "RoleList",
    "RoleDelete",
    "RoleGrantPermission",
    "RoleRevokePermission",
  ],
};

/** Gateway paths of the same RPCs. */
export const notThereYetPaths: readonly string[] = [
  ...["enable", "disable", "status", "authenticate"].map((name) => `/v3/auth/${name}`),
  ...["add", "get", "list", "delete", "changepw", "grant", "revoke"].map((name) => `/v3/auth/user/${name}`),
  ...["add", "get", "list", "delete", "grant", "revoke"].map((name) => `/v3/auth/role/${name}`),
];
