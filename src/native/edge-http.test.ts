import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import http from "node:http";
import net from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { echo, EdgeRig, framed, putPath } from "./edge-rig.test-support.js";

const message = Buffer.from("hello");
const put = framed(message);

describe("HTTP/1.1 on the same port", () => {
  const folder = mkdtempSync(join(tmpdir(), "EDGE-"));
  const httpSocketPath = join(folder, "http");
  const server = http.createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => response.end(`${request.method} ${request.url} ${Buffer.concat(chunks).length}`));
  });
  let rig: EdgeRig;
  before(async () => {
    await new Promise<void>((resolve) => server.listen(httpSocketPath, resolve));
    rig = new EdgeRig(echo, { httpSocketPath });
  });
  after(async () => {
    server.closeAllConnections();
    server.close();
    await rig.close();
    rmSync(folder, { recursive: true });
  });

  const get = async (agent: http.Agent, method: string, path: string, body: Buffer): Promise<string> =>
    await new Promise((resolve, reject) => {
      const request = http.request({ port: rig.port, host: "127.0.0.1", method, path, agent }, (response) => {
        let text = "";
        response.on("data", (chunk: Buffer) => (text += chunk.toString()));
        response.on("end", () => resolve(text));
      });
      request.on("error", reject);
      request.end(body);
    });

  test("requests and large bodies pass, on kept connections too", async () => {
    const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
    assert.equal(await get(agent, "GET", "/health", Buffer.alloc(0)), "GET /health 0");
    assert.equal(await get(agent, "POST", "/v3/kv/put", Buffer.alloc(3_000_000)), "POST /v3/kv/put 3000000");
    assert.equal(await get(agent, "GET", "/version", Buffer.alloc(0)), "GET /version 0");
    agent.destroy();
  });

  test("a request whose first bytes come one at a time", async () => {
    const raw = net.connect(rig.port, "127.0.0.1");
    const answer = new Promise<string>((resolve) => raw.once("data", (chunk) => resolve(chunk.toString())));
    for (const character of "PRX /a HTTP/1.1\r\nhost: x\r\n\r\n") {
      raw.write(character);
      await new Promise((resolve) => setImmediate(resolve));
    }
    // "PR" could have begun the preface of HTTP/2. A method that the HTTP server does not know comes to it as PUT.
    assert.match(await answer, /^HTTP\/1\.1 200 OK/);
    raw.destroy();
  });

  test("gRPC works beside it", async () => {
    const client = rig.connect();
    assert.equal((await client.call(putPath, [put])).code, 0);
    client.destroy();
  });
});
