/**
 * Writes src/proto/gen/ from src/proto/*.proto: interfaces, decoders, encoders and descriptor tables.
 *
 *   node generate-proto.js            writes src/proto/gen/
 *   node generate-proto.js --check    exits 1 when src/proto/gen/ is not what would be written
 *
 * protobufjs parses; the code is our own because a field must be `number` or `bigint` by choice, values saturate,
 * and what is accepted must be what Go's parser accepts (see src/proto/wire.ts).
 */
import { execFileSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { tmpdir } from "node:os";
import protobuf from "protobufjs";
import { fileCode, indexCode, methodsCode, type Source } from "./proto/files.js";

function read(folder: string): Source[] {
  const root = new protobuf.Root();
  const names = readdirSync(folder)
    .filter((file) => file.endsWith(".proto"))
    .map((file) => file.slice(0, -".proto".length))
    .toSorted();
  const packages = names.map((name) => {
    const text = readFileSync(join(folder, `${name}.proto`), "utf8");
    return protobuf.parse(text, root, { keepCase: true }).package!;
  });
  root.resolveAll();
  return names.map((name, i) => {
    const namespace = root.lookup(packages[i]!) as protobuf.Namespace;
    const messages = namespace.nestedArray.filter((one) => one instanceof protobuf.Type);
    const enums = namespace.nestedArray.filter((one) => one instanceof protobuf.Enum);
    const nested = messages.flatMap((type) => type.nestedArray.filter((one) => one instanceof protobuf.Enum));
    return { name, namespace, messages, enums: [...enums, ...nested] };
  });
}

function packageRoot(): string {
  let folder = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(folder, "package.json"))) folder = dirname(folder);
  return folder;
}

/** Writes all files into `folder` and formats them. */
function generate(root: string, folder: string): void {
  const sources = read(join(root, "src", "proto"));
  const home = new Map<protobuf.ReflectionObject, string>();
  for (const source of sources) for (const type of [...source.messages, ...source.enums]) home.set(type, source.name);
  for (const source of sources) writeFileSync(join(folder, `${source.name}.ts`), fileCode(source, home));
  writeFileSync(join(folder, "methods.ts"), methodsCode(sources, home));
  writeFileSync(join(folder, "index.ts"), indexCode(sources));
  execFileSync(join(root, "node_modules", ".bin", "oxfmt"), ["-c", join(root, ".oxfmtrc.json"), folder]);
}

function differs(ours: string, theirs: string): string[] {
  const names = new Set([...readdirSync(ours), ...readdirSync(theirs)]);
  const text = (folder: string, name: string): string | undefined =>
    existsSync(join(folder, name)) ? readFileSync(join(folder, name), "utf8") : undefined;
  return [...names].filter((name) => text(ours, name) !== text(theirs, name));
}

function main(): void {
  const root = packageRoot();
  const target = join(root, "src", "proto", "gen");
  const folder = mkdtempSync(join(tmpdir(), "etcd-ts-proto-"));
  try {
    generate(root, folder);
    if (process.argv.includes("--check")) {
      const changed = existsSync(target) ? differs(target, folder) : ["gen/"];
      if (changed.length === 0) return;
      console.error(`src/proto/gen is not current (npm run generate): ${changed.join(", ")}`);
      process.exitCode = 1;
      return;
    }
    rmSync(target, { recursive: true, force: true });
    mkdirSync(target);
    cpSync(folder, target, { recursive: true });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

main();
