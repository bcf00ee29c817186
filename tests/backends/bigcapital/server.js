// Stands in for bigcapital-server: its Socket.IO server, the parts of its API that matter to an edge, and the test routes of
// exercise.js. Node's keep-alive timeout keeps its default (5 s), because an edge has to cope with it.
//
// Environment:
//   APP_JWT_SECRET, JWT_SECRET  both required: the real one falls back to a public secret without the first
//   DB_HOST (port 3306), REDIS_HOST + REDIS_PORT, QUEUE_HOST + QUEUE_PORT
//                               it waits for these, if set, before it listens
//   PORT           3000 by default
//   BOOT_DELAY_MS  how long it boots before it listens
//   ON_TERM        rude (the default) exits at once on SIGTERM, polite closes the server first
//   NAME           its name; the host name by default
//   LOG            1 prints one line per request
import { createServer } from 'node:http';
import { hostname } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { answer } from './api.js';
import { awaitTCP } from './tcp.js';
import { serveSockets } from './sockets.js';

const { env } = process;
const name = env.NAME || hostname();
const port = Number(env.PORT || 3000);

for (const secret of ['APP_JWT_SECRET', 'JWT_SECRET']) {
  if (!env[secret]) fail(`${secret} is not set`);
}
if (!['', 'rude', 'polite'].includes(env.ON_TERM ?? '')) fail(`ON_TERM is "${env.ON_TERM}", want rude or polite`);

const server = createServer((req, res) => {
  if (env.LOG === '1') logWhenDone(req, res);
  answer(name, req, res);
});
const sockets = serveSockets(name, server);

// The handlers are set before the boot, so that a backend can be stopped while it boots: PID 1 ignores signals without a handler.
for (const signal of ['SIGTERM', 'SIGINT']) {
  process.once(signal, () => {
    if (env.ON_TERM !== 'polite' || !server.listening) process.exit(128 + 15);
    server.close(() => process.exit(0));
    server.closeIdleConnections(); // Node 18 leaves them open
    for (const io of sockets) io.disconnectSockets(true);
  });
}

await sleep(Number(env.BOOT_DELAY_MS || 0));
await Promise.all([
  awaitTCP(env.DB_HOST, 3306),
  awaitTCP(env.REDIS_HOST, env.REDIS_PORT),
  awaitTCP(env.QUEUE_HOST, env.QUEUE_PORT),
]);
server.listen(port, () => {
  console.log(`${new Date().toISOString()} listening on port ${port} as ${name} (bigcapital-server)`);
});

function logWhenDone(req, res) {
  const start = Date.now();
  res.on('close', () => {
    const status = res.writableFinished ? res.statusCode : 'cut';
    console.log(`${new Date(start).toISOString()} ${req.socket.remoteAddress} ${req.method} ${req.url} ${status} ${Date.now() - start}ms`);
  });
}

function fail(message) {
  console.error(`server: error: ${message}`);
  process.exit(1);
}
