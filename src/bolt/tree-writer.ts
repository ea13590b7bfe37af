/**
 * Writes one tree: entries in order of key → pages in the order in which they are complete, children before parents.
 * Holds one page of each level. See `TreeSizer` for the rules.
 */
import { PageFlag, pagesFor } from "./format.js";
import { PageBuilder } from "./page-builder.js";
import type { PageOutput } from "./page-output.js";
import { isBranchFull, isLeafFull } from "./tree-sizer.js";
import { elementBytes } from "./format.js";

export class TreeWriter {
  readonly #output: PageOutput;
  readonly #leaf = new PageBuilder(PageFlag.Leaf);
  readonly #branches: PageBuilder[] = [];
  /** Number of the page written last: at the end, of the root. */
  rootPage = 0;

  constructor(output: PageOutput) {
    this.#output = output;
  }

  /** Adds an entry with a leaf element's flags; both arrays are copied. */
  add(flags: number, key: Uint8Array, value: Uint8Array): void {
    const added = elementBytes + key.length + value.length;
    if (isLeafFull(this.#leaf.count, this.#leaf.bytes, added)) this.#closeLeaf();
    this.#leaf.add(flags, key, value);
  }

  /** Writes what is left; `rootPage` names the root then. */
  finish(): void {
    this.#closeLeaf();
    for (let level = 0; this.#branches[level]!.count > 1; level++) this.#closeBranch(level);
  }

  #closeLeaf(): void {
    const key = this.#leaf.firstKey();
    this.#addChild(0, this.#write(this.#leaf), key);
  }

  #closeBranch(level: number): void {
    const branch = this.#branches[level]!;
    const key = branch.firstKey();
    this.#addChild(level + 1, this.#write(branch), key);
  }

  #addChild(level: number, child: number, key: Uint8Array): void {
    const branch = (this.#branches[level] ??= new PageBuilder(PageFlag.Branch));
    if (isBranchFull(branch.count, branch.bytes)) {
      const last = branch.takeLast();
      this.#closeBranch(level);
      branch.add(last.child, last.key);
    }
    branch.add(child, key);
  }

  #write(page: PageBuilder): number {
    const output = this.#output;
    const id = output.nextPage;
    const pages = pagesFor(page.bytes);
    const at = output.take(pages);
    page.write(output.bytes, at, id, pages - 1);
    this.rootPage = id;
    return id;
  }
}
