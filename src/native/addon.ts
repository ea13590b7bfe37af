/**
 * Finds and loads the addon: the one built in this tree, else the package of this platform.
 *
 *   native/addon/etcd-ts-native.<platform>.node   written by scripts/build-native.ts
 *   etcd-ts-native-<platform>                     npm package with the same file, an optional dependency
 *
 * Thread: any; one image serves all threads of the process, and its statics are shared.
 */
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { addonFile, addonName, addonPlatform } from "../base/index.js";

function load(): unknown {
  const require = createRequire(import.meta.url);
  const file = addonFile();
  if (existsSync(file)) return require(file) as unknown;
  const name = `${addonName}-${addonPlatform()}`;
  try {
    return require(name) as unknown;
  } catch (cause) {
    throw new Error(
      `the native part of etcd-ts for ${addonPlatform()} is missing: neither ${file} nor the package ${name} is there. ` +
        "In a clone of the repository, `npm run build` makes it and needs Rust (https://rustup.rs). " +
        "In an installed package, install again without --omit=optional.",
      { cause },
    );
  }
}

/** The addon's exports. Each file of this folder states the type of those that it wraps. */
export const addon: unknown = load();
