/**
 * Finds and loads the addon: the one built in this tree, else the package of this platform.
 *
 *   native/addon/etcd-ts-native.<platform>.node   written by scripts/build-native.ts
 *   etcd-ts-native-<platform>                     npm package with the same file, made by scripts/release.ts, an optional dependency
 *
 * Thread: any; one image serves all threads of the process, and its statics are shared.
 */
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { addonFile, addonMissingText, addonPackage, addonPlatform } from "../base/index.js";

function load(): unknown {
  const require = createRequire(import.meta.url);
  const file = addonFile();
  if (existsSync(file)) return require(file) as unknown;
  const platform = addonPlatform();
  try {
    return require(addonPackage(platform)) as unknown;
  } catch (cause) {
    throw new Error(addonMissingText(platform, file), { cause });
  }
}

/** The addon's exports. Each file of this folder states the type of those that it wraps. */
export const addon: unknown = load();
