/** This product's own name, version and revision, from the package it runs from. */
import { readFileSync } from "node:fs";
import { packageRoot } from "../base/index.js";
import { join } from "node:path";

export interface ProductVersion {
  readonly name: string;
  readonly version: string;
  /** The commit that was built; "unknown" where the build had no git. */
  readonly revision: string;
}

let known: ProductVersion | undefined;

export function productVersion(): ProductVersion {
  return (known ??= read());
}

function read(): ProductVersion {
  const root = packageRoot();
  const { name, version } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as ProductVersion;
  return { name, version, revision: revisionOf(root) };
}

/** Written by the build beside the compiled files. */
function revisionOf(root: string): string {
  try {
    return readFileSync(join(root, "dist", "revision"), "utf8").trim();
  } catch {
    return "unknown";
  }
}
