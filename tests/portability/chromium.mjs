// Runs the cases in headless Chromium: node chromium.mjs CASES.json PROGRAM. The page comes from
// localhost, where WebGPU is allowed, and posts its result.
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";

const [cases, program] = process.argv.slice(2);
const page = `<script type="module">
  import { check } from "/check.mjs";
  const cases = await (await fetch("/cases.json")).json();
  const result = navigator.gpu ? await check(navigator.gpu, cases).catch((error) => ({ error: String(error) })) : { error: "no WebGPU" };
  await fetch("/result", { method: "POST", body: JSON.stringify(result) });
</script>`;
const profile = mkdtempSync(join(tmpdir(), "chromium-"));
const files = {
  "/": ["text/html", () => page],
  "/check.mjs": ["text/javascript", () => readFileSync(new URL("check.mjs", import.meta.url))],
  "/cases.json": ["application/json", () => readFileSync(cases)],
};
const server = createServer((request, response) => {
  if (request.method === "POST") {
    let body = "";
    request.on("data", (part) => (body += part));
    request.on("end", () => (response.end(), finish(body)));
  } else if (files[request.url]) {
    const [type, content] = files[request.url];
    response.writeHead(200, { "content-type": type }).end(content());
  } else {
    response.writeHead(404).end();
  }
});
let browser;
function finish(text) {
  console.log(text);
  browser.on("exit", () => {
    rmSync(profile, { recursive: true, force: true, maxRetries: 5 });
    process.exit(0);
  });
  browser.kill();
}
server.listen(0, "127.0.0.1", () => {
  const flags = [
    "--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--enable-unsafe-webgpu", "--enable-features=Vulkan",
    "--use-webgpu-adapter=swiftshader", `--user-data-dir=${profile}`, `http://127.0.0.1:${server.address().port}/`,
  ];
  browser = spawn(program, flags, { stdio: "ignore" });
  setTimeout(() => finish('{"error": "no answer in four minutes"}'), 240_000).unref();
});
