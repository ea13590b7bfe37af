/**
 * Where the checkout is. Tests run compiled, from an output folder of any depth,
 * so nothing may count ".." from its own place.
 */
import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const isPackageRoot = (folder: string): boolean => {
  const file = join(folder, "package.json");
  if (!existsSync(file)) return false;
  const content: unknown = JSON.parse(readFileSync(file, "utf8"));
  return typeof content === "object" && content !== null && "name" in content && content.name === "etcd-ts";
};

const findPackageRoot = (): string => {
  for (let folder = dirname(fileURLToPath(import.meta.url)); ; folder = dirname(folder)) {
    if (isPackageRoot(folder)) return folder;
    if (folder === dirname(folder)) throw new Error("no package.json of etcd-ts above the compiled tests");
  }
};

/** The folder of the package.json named "etcd-ts". */
export const packageRoot: string = findPackageRoot();
