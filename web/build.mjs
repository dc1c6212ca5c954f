// The one build command: web/src -> pipelines/review/page. `--tests` builds the tests of node's test runner.
import { build } from "esbuild";
import { readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";

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
}
