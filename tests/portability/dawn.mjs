// Runs the cases in Dawn on Node: node dawn.mjs CASES.json FOLDER. FOLDER is where
// `npm install webgpu` was run.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { check } from "./check.mjs";

const [cases, folder] = process.argv.slice(2);
const entry = createRequire(join(resolve(folder), "x.js")).resolve("webgpu");
const { create, globals } = await import(pathToFileURL(entry));
Object.assign(globalThis, globals);
console.log(JSON.stringify(await check(create([]), JSON.parse(readFileSync(cases, "utf8")))));
process.exit(0);
