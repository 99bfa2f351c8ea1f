// Builds the files that the wheel ships: `npm ci && npm run build`, as `make report-assets` does.
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const here = dirname(fileURLToPath(import.meta.url));
const target = process.argv[2] ?? join(here, "../src/chainette/reports/page/assets");

mkdirSync(target, { recursive: true });
const { metafile } = await build({
  absWorkingDir: here,
  entryPoints: { page: "src/main.js" },
  outdir: target,
  bundle: true,
  minify: true,
  format: "iife",
  charset: "ascii",
  target: "chrome103",
  legalComments: "none",
  metafile: true,
  loader: { ".svg": "dataurl" },
});

const packages = new Set();
for (const input of Object.keys(metafile.inputs)) {
  const found = /^node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(input);
  if (found) packages.add(found[1]);
}
const notices = [...packages].sort().map((name) => {
  const folder = join(here, "node_modules", name);
  const { version } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
  const file = readdirSync(folder).find((it) => /^licen[sc]e/i.test(it));
  if (!file) throw new Error(`${name} has no licence`);
  return `${name} ${version}\n\n${readFileSync(join(folder, file), "utf8").trim()}\n`;
});
writeFileSync(join(target, "LICENSES.txt"), notices.join(`\n${"-".repeat(72)}\n\n`));

// What the files were built from, so that a test notices that they are old without npm.
const sources = ["build.mjs", "package-lock.json", "package.json", ...readdirSync(join(here, "src")).sort().map((it) => `src/${it}`)];
const digest = createHash("sha256");
for (const it of sources) digest.update(`${it}\0`).update(readFileSync(join(here, it))).update("\0");
writeFileSync(join(target, "sources.sha256"), `${digest.digest("hex")}\n`);
if (!existsSync(join(target, "page.js"))) throw new Error("nothing was built");
