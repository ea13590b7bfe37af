/**
 * Writes the parts of README.md that come from tables in the code: options, RPCs and metrics.
 *
 *   node dist/scripts/generate-readme.js            writes README.md
 *   node dist/scripts/generate-readme.js --check    exits 1 when README.md is not what would be written
 */
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { servedMethods } from "../src/api/grpc/methods.js";
import { packageRoot } from "../src/base/index.js";
import { options, type OptionName } from "../src/config/index.js";
import { definitions, type MetricName } from "../src/metrics/index.js";
import { methods } from "../src/proto/index.js";

const sectionTitles = {
  member: "Member",
  clustering: "Clustering",
  security: "Security",
  auth: "Auth",
  monitoring: "Monitoring",
  logging: "Logging",
  tracing: "Tracing",
  features: "Features",
  unsafe: "Unsafe",
} as const;

interface Row {
  readonly name: OptionName;
  readonly section: keyof typeof sectionTitles;
  readonly help: string;
  readonly shown: string;
  readonly standing: string;
}

function rows(): Row[] {
  return (Object.keys(options) as OptionName[]).map((name) => {
    const option = options[name];
    // One option's own print takes its own default; the table as a whole cannot say so.
    const print = option.print as (value: unknown) => string;
    const {
      section,
      help,
      notYet = false,
      noEffect = false,
    } = option as Pick<typeof option, "section" | "help"> & {
      notYet?: boolean;
      noEffect?: boolean;
    };
    return {
      name,
      section,
      help,
      shown: print(option.default),
      standing: notYet ? "refused: not yet" : noEffect ? "no effect" : "",
    };
  });
}

const cell = (text: string): string => text.replaceAll("|", "\\|");

function optionTables(): string {
  const all = rows();
  return Object.entries(sectionTitles)
    .map(([section, title]) => {
      const lines = all
        .filter((row) => row.section === section)
        .map(({ name, shown, help, standing }) => {
          return `| \`${name}\` | ${shown === "" ? "" : `\`${cell(shown)}\``} | ${cell(help)} | ${standing} |`;
        });
      return `#### ${title}\n\n| Option | Default | Meaning | Here |\n|---|---|---|---|\n${lines.join("\n")}\n`;
    })
    .join("\n");
}

/** Services as etcd's users know them. */
function rpcTable(): string {
  const served = new Set(servedMethods.map(({ path }) => path));
  const services = [...new Set(methods.map(({ service }) => service))];
  const names = (service: string, isServed: boolean): string =>
    methods
      .filter((method) => method.service === service && served.has(method.path) === isServed)
      .map(({ name }) => name)
      .join(", ");
  const lines = services.map((service) => `| \`${service}\` | ${names(service, true)} | ${names(service, false)} |`);
  return `| Service | Served | Answers \`Unimplemented\` |\n|---|---|---|\n${lines.join("\n")}\n`;
}

function sources(folder: string): string[] {
  return readdirSync(folder, { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".ts") && !/\.test(-support)?\.ts$/.test(name) && !name.endsWith("definitions.ts"))
    .map((name) => readFileSync(join(folder, name), "utf8"));
}

/** A metric is there when code names it: `definitions` has all of etcd's. Those of the process are prom-client's. */
function metricList(): string {
  const text = sources(join(packageRoot(), "src")).join("\n");
  const used = (Object.keys(definitions) as MetricName[]).filter(
    (name) => name.startsWith("process_") || text.includes(`"${name}"`),
  );
  return `${used.map((name) => `\`${name}\``).join(", ")}, and Node's own \`nodejs_*\`.\n`;
}

const parts: Readonly<Record<string, () => string>> = { options: optionTables, rpcs: rpcTable, metrics: metricList };

/** README.md with every part between its marks replaced. */
function generate(readme: string): string {
  return Object.entries(parts).reduce((text, [name, make]) => {
    const marks = new RegExp(`(<!-- generated: ${name} -->\\n)[\\s\\S]*?(<!-- end -->)`);
    if (!marks.test(text)) throw new Error(`README.md has no marks for ${name}`);
    return text.replace(marks, (_, open: string, close: string) => `${open}\n${make()}\n${close}`);
  }, readme);
}

const path = join(packageRoot(), "README.md");
const readme = readFileSync(path, "utf8");
const wanted = generate(readme);
if (!process.argv.includes("--check")) writeFileSync(path, wanted);
else if (wanted !== readme) {
  process.stderr.write("README.md is not what the code says; run: npm run generate\n");
  process.exit(1);
}
