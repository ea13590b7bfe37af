/** Files of the repository as the tidy rules see them: paths from its root, and their text. */
import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

export type Tree = ReadonlyMap<string, string>;

const leftOut = /^(\.git|\.build|dist|node_modules|target|\.tmp)$|\.node$/;

function walk(root: string, folder: string): string[] {
  return readdirSync(join(root, folder), { withFileTypes: true }).flatMap((entry) => {
    if (leftOut.test(entry.name)) return [];
    const path = folder === "" ? entry.name : `${folder}/${entry.name}`;
    return entry.isDirectory() ? walk(root, path) : [path];
  });
}

function list(root: string, args: readonly string[]): string[] {
  const text = execFileSync("git", ["ls-files", "-z", ...args], {
    cwd: root,
    encoding: "utf8",
    stdio: ["ignore", "pipe", "ignore"],
  });
  return text.split("\0");
}

/** Committed files, and code about to be; without git, all that is not built. */
function paths(root: string): string[] {
  try {
    const coming = list(root, ["--others", "--exclude-standard", "src", "test", "bench", "scripts", "native"]);
    return [...new Set([...list(root, ["--cached"]), ...coming])].filter((path) => path !== "");
  } catch {
    return walk(root, "");
  }
}

/** Reads the repository at `root`. A file that git knows and that is gone is left out. */
export function readTree(root: string): Tree {
  const tree = new Map<string, string>();
  for (const path of paths(root).sort()) {
    try {
      tree.set(path, readFileSync(join(root, path), "utf8"));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
    }
  }
  return tree;
}
