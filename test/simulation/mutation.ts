/** What a deliberate break of a rule is: mutations.ts, mutations-state.ts and mutations-watches.ts name them all. */

export interface Edit {
  /** Below src/ (or, with its whole path, below test/simulation/), without extension. */
  readonly file: string;
  /** Occurs exactly once in the compiled file. */
  readonly find: string;
  readonly replace: string;
}

export interface Mutation {
  readonly name: string;
  /** The rule that is broken. */
  readonly rule: string;
  readonly edits: readonly Edit[];
  /** Why no run of the simulation can show it, where that is so. */
  readonly unseen?: string;
}

export const edit = (file: string, find: string, replace: string): Edit => ({ file, find, replace });

/** Path of an edit's compiled file below the folder that everything is compiled to. */
export const compiledPath = ({ file }: Edit): string => `${file.startsWith("test/") ? file : `src/${file}`}.js`;
