// The one build command: web/src -> pipelines/review/page. `--tests` builds the tests of node's test runner.
import { build } from "esbuild";
import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";

const common = { bundle: true, target: ["es2022"], charset: "utf8", logLevel: "warning", jsx: "automatic", jsxImportSource: "preact" };

if (process.argv.includes("--tests")) {
  rmSync("build/tests", { recursive: true, force: true });
  const tests = readdirSync("tests").filter((name) => name.endsWith(".ts"));
  await build({
    ...common, entryPoints: tests.map((name) => `tests/${name}`), outdir: "build/tests", platform: "node", format: "esm",
    outExtension: { ".js": ".mjs" },
  });
} else {
  const page = "../pipelines/review/page";
  mkdirSync(page, { recursive: true });
  await build({
    ...common, entryPoints: { review: "src/main.tsx" }, outdir: page, format: "iife", minify: true, legalComments: "none",
  });
  await build({ ...common, entryPoints: { review: "src/review.css" }, outdir: page, minify: true });
  await build({
    ...common, entryPoints: ["tests/replay.ts"], outfile: "../tests/data/corrections/replay.mjs", platform: "node",
    format: "esm",
  });
  const { version } = JSON.parse(readFileSync("node_modules/preact/package.json", "utf8"));
  const licence = readFileSync("node_modules/preact/LICENSE", "utf8").trim();
  writeFileSync(`${page}/LICENSES.txt`, `review.js contains the source of this project (Apache-2.0) and these parts:\n\npreact ${version}\n\n${licence}\n`);
  // What was built, so that a test notices a page that is older than its source (tests/browser/test_build.py).
  const sources = readdirSync("src", { recursive: true, withFileTypes: true }).filter((one) => one.isFile());
  const paths = [...sources.map((one) => `${one.parentPath}/${one.name}`), "tests/replay.ts", "build.mjs", "package-lock.json"].sort();
  const digest = createHash("sha256");
  for (const path of paths) digest.update(`${path}\n`).update(readFileSync(path)).update("\n");
  writeFileSync(`${page}/source.sha256`, `${digest.digest("hex")}\n`);
}
