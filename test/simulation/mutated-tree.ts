/** A copy of the compiled server and simulation, to be broken on purpose. */
import { cpSync, existsSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { packageRoot } from "../../src/base/index.js";
import { compiledPath, type Mutation } from "./mutation.js";

const compiled = fileURLToPath(new URL("../../", import.meta.url));

export class MutatedTree {
  /** Of this process and purpose alone, so that several may go on at a time. */
  readonly root: string;

  /** Copies what was compiled. The copy is gone when the process ends, or after `remove`. */
  constructor(purpose: string) {
    this.root = join(packageRoot(), ".build", `${purpose}-${process.pid}`);
    process.on("exit", () => this.remove());
    mkdirSync(this.root, { recursive: true });
    const filter = (path: string): boolean => !path.endsWith(".map") && !path.endsWith(".test.js");
    for (const part of ["src", "test/simulation"]) {
      cpSync(join(compiled, part), join(this.root, part), { recursive: true, filter });
    }
    for (const part of ["package.json", "node_modules", "native"]) {
      if (existsSync(join(packageRoot(), part))) symlinkSync(join(packageRoot(), part), join(this.root, part));
    }
  }

  /** Path of a module of test/simulation in the copy. */
  simulationModule(name: string): string {
    return join(this.root, "test", "simulation", `${name}.js`);
  }

  /** Applies the edits; returns what takes them back. Throws when one does not find its place. */
  apply({ name, edits }: Mutation): () => void {
    const originals = new Map<string, string>();
    for (const each of edits) {
      const { file, find, replace } = each;
      const path = join(this.root, compiledPath(each));
      const text = readFileSync(path, "utf8");
      if (!originals.has(path)) originals.set(path, text);
      if (text.split(find).length !== 2) throw new Error(`${name}: ${file} does not hold exactly once: ${find}`);
      writeFileSync(
        path,
        text.replace(find, () => replace),
      );
    }
    return () => {
      for (const [path, text] of originals) writeFileSync(path, text);
    };
  }

  remove(): void {
    rmSync(this.root, { recursive: true, force: true });
  }
}
