/**
 * A slow and obvious key index, against which the tests check the fast one: plain arrays, etcd's rules word by word.
 * For tests only.
 */

interface ModelRevision {
  main: number;
  sub: number;
}

/** One life of a key; `revisions` is empty only in the generation behind a tombstone. */
interface ModelGeneration {
  createMain: number;
  version: number;
  revisions: ModelRevision[];
}

export interface ModelItem {
  key: string;
  modMain: number;
  modSub: number;
  createMain: number;
  version: number;
}

function empty(): ModelGeneration {
  return { createMain: 0, version: 0, revisions: [] };
}

export class ModelIndex {
  /** Keys as latin1 strings, which compare as their bytes do. */
  readonly keys = new Map<string, ModelGeneration[]>();

  put(key: string, main: number, sub: number, createMain = main, version = 1): void {
    let generations = this.keys.get(key);
    if (generations === undefined) {
      generations = [{ createMain, version: version - 1, revisions: [] }];
      this.keys.set(key, generations);
    }
    const last = generations.at(-1)!;
    if (last.revisions.length === 0 && last.version === 0) last.createMain = main;
    last.revisions.push({ main, sub });
    last.version++;
  }

  alive(key: string): boolean {
    return (this.keys.get(key)?.at(-1)?.revisions.length ?? 0) > 0;
  }

  tombstone(key: string, main: number, sub: number): boolean {
    if (!this.alive(key)) return false;
    const generations = this.keys.get(key)!;
    generations.at(-1)!.revisions.push({ main, sub });
    generations.at(-1)!.version++;
    generations.push(empty());
    return true;
  }

  restoreTombstone(key: string, main: number, sub: number): void {
    if (this.keys.has(key)) {
      this.tombstone(key, main, sub);
      return;
    }
    this.keys.set(key, [{ createMain: 0, version: 1, revisions: [{ main, sub }] }, empty()]);
  }

  get(key: string, atRevision: number): ModelItem | undefined {
    const generations = this.keys.get(key) ?? [];
    for (let g = generations.length - 1; g >= 0; g--) {
      const { revisions, createMain, version } = generations[g]!;
      if (revisions.length === 0) continue;
      if (g !== generations.length - 1 && revisions.at(-1)!.main <= atRevision) return undefined;
      for (let i = revisions.length - 1; i >= 0; i--) {
        const { main, sub } = revisions[i]!;
        if (main > atRevision) continue;
        return { key, modMain: main, modSub: sub, createMain, version: version - (revisions.length - i - 1) };
      }
    }
    return undefined;
  }

  /** The items of [key, end); end "" = open. */
  range(key: string, end: string, atRevision: number): ModelItem[] {
    const names = [...this.keys.keys()].filter((name) => name >= key && (end === "" || name < end)).sort(byBytes);
    return names.map((name) => this.get(name, atRevision)).filter((item) => item !== undefined);
  }

  /** Returns the kept revisions ≤ atRevision as "main.sub". */
  compact(atRevision: number): Set<string> {
    const available = new Set<string>();
    for (const [key, generations] of [...this.keys]) {
      const { generation, revision } = select(generations, atRevision);
      const chosen = generations[generation]!;
      if (revision >= 0) {
        available.add(name(chosen.revisions[revision]!));
        chosen.revisions.splice(0, revision);
      }
      generations.splice(0, generation);
      if (generations.length === 1 && generations[0]!.revisions.length === 0) this.keys.delete(key);
    }
    return available;
  }

  /** HashKV's keep set: what etcd's `compact` keeps, without tombstones, and without a change. */
  keep(atRevision: number): Set<string> {
    const available = new Set<string>();
    for (const generations of this.keys.values()) {
      const { generation, revision } = select(generations, atRevision, true);
      const { revisions } = generations[generation]!;
      const tombstone = generation < generations.length - 1 && revision === revisions.length - 1;
      if (revision >= 0 && !tombstone) available.add(name(revisions[revision]!));
    }
    return available;
  }

  /** All records, as a `key` bucket holds them: in order of revision. */
  records(): (ModelItem & { tombstone: boolean })[] {
    const all: (ModelItem & { tombstone: boolean })[] = [];
    for (const [key, generations] of this.keys) {
      generations.forEach(({ createMain, version, revisions }, g) => {
        revisions.forEach(({ main, sub }, i) => {
          const closed = g < generations.length - 1 && i === revisions.length - 1;
          const at = version - (revisions.length - i - 1);
          all.push({ key, modMain: main, modSub: sub, createMain, version: at, tombstone: closed });
        });
      });
    }
    return all.sort((a, b) => a.modMain - b.modMain || a.modSub - b.modSub);
  }
}

/**
 * The generation a compaction ends in, and in it the newest revision ≤ atRevision (−1: none). `asEtcd`: of a key that a
 * transaction at atRevision has deleted and put again the former generation.
 */
function select(
  generations: ModelGeneration[],
  atRevision: number,
  asEtcd = false,
): { generation: number; revision: number } {
  let generation = 0;
  while (generation < generations.length - 1) {
    const tombstone = generations[generation]!.revisions.at(-1)!.main;
    const next = generations[generation + 1]!.revisions[0];
    const putAgain = !asEtcd && tombstone === atRevision && next !== undefined && next.main === atRevision;
    if (tombstone >= atRevision && !putAgain) break;
    generation++;
  }
  return { generation, revision: generations[generation]!.revisions.findLastIndex((r) => r.main <= atRevision) };
}

function name({ main, sub }: ModelRevision): string {
  return `${main}.${sub}`;
}

function byBytes(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
