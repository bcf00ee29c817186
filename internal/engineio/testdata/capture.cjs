// Writes the handshakes in this folder: the response bodies of real Engine.IO servers. The sids are new each time:
// handshake_test.go must name them.
//
//   npm install --no-save engine.io3@npm:engine.io@3.6.2 engine.io6@npm:engine.io@6.6.12
//   node capture.cjs
const fs = require("node:fs");
const http = require("node:http");
const path = require("node:path");

// A server's first message follows the handshake in the same body; a Buffer makes a v3 payload binary.
const text = "hé\u2028llo 🎉";
const binary = Buffer.from([0, 1, 255, 0x1e]);

const captures = [
  ["v3-text", "engine.io3", {}, "EIO=3"],
  ["v3-text-message", "engine.io3", { initialPacket: text }, "EIO=3"],
  ["v3-binary-message", "engine.io3", { initialPacket: binary }, "EIO=3"],
  ["v3-base64-message", "engine.io3", { initialPacket: binary }, "EIO=3&b64=1"],
  ["v3-jsonp-message", "engine.io3", { initialPacket: text }, "EIO=3&j=7"],
  ["v3-of-6-text", "engine.io6", { allowEIO3: true }, "EIO=3"],
  ["v3-of-6-binary-message", "engine.io6", { allowEIO3: true, initialPacket: binary }, "EIO=3"],
  ["v4-text", "engine.io6", {}, "EIO=4"],
  ["v4-text-message", "engine.io6", { initialPacket: text }, "EIO=4"],
  ["v4-binary-message", "engine.io6", { initialPacket: binary }, "EIO=4"],
  ["v4-jsonp-message", "engine.io6", { initialPacket: text }, "EIO=4&j=0"],
  ["v4-own-sid", "engine.io6", { generateId: () => 'wörker "1"' }, "EIO=4"],
];

async function capture(name, version, { generateId, ...options }, query) {
  const engine = require(version);
  const server = http.createServer().listen(0, "127.0.0.1");
  const io = engine.attach(server, { pingInterval: 10_000, pingTimeout: 5_000, ...options });
  if (generateId) io.generateId = generateId;
  await new Promise((listening) => server.once("listening", listening));
  const url = `http://127.0.0.1:${server.address().port}/engine.io/?${query}&transport=polling`;
  const response = await new Promise((responded) => http.get(url, responded));
  const chunks = [];
  for await (const chunk of response) chunks.push(chunk);
  if (response.headers["content-encoding"]) throw new Error(`${name} is compressed`);
  fs.writeFileSync(path.join(__dirname, name), Buffer.concat(chunks));
  server.closeAllConnections();
  server.close();
  io.close();
}

(async () => {
  for (const c of captures) await capture(...c);
  process.exit();
})();
