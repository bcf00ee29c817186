// node echo.js URL PATH TRANSPORTS COUNT [CA_FILE]
//
// Connects with socket.io 4, waits for `hello`, does COUNT echo round trips and prints one line of JSON:
//   {"transport":"websocket","echoes":5}
// or that with an error, and the exit status 1. It does not reconnect, and gives up after 10 s: a proxy that needs a second
// attempt has failed.
//
// URL is https://HOST:PORT; the client connects to 127.0.0.1, whatever HOST is. TRANSPORTS is separated by commas. With
// polling,websocket the upgrade must succeed before the echoes begin. CA_FILE has the root of the server's certificate; without
// it the client does not verify certificates.
import { Agent } from 'node:https';
import { readFileSync } from 'node:fs';
import { io } from 'socket.io-client';

const [url, path, transportList, count, caFile] = process.argv.slice(2);
const transports = transportList.split(',');
const result = { transport: '', echoes: 0 };

const trust = caFile ? { ca: readFileSync(caFile) } : { rejectUnauthorized: false };
const loopback = { address: '127.0.0.1', family: 4 };
const lookup = (host, { all }, done) => (all ? done(null, [loopback]) : done(null, loopback.address, loopback.family));
const socket = io(url, { path, transports, agent: new Agent({ ...trust, lookup }), ...trust, reconnection: false });

setTimeout(() => finish('not finished after 10 s'), 10_000);
socket.on('connect_error', (error) => finish(`connect: ${describe(error)}`));
socket.on('disconnect', (reason) => finish(`disconnected: ${reason}`));
socket.io.engine.on('upgradeError', (error) => finish(`upgrade: ${describe(error)}`));

// Both listeners are added before one is awaited: the upgrade may be complete before hello arrives.
const hello = new Promise((resolve) => socket.once('hello', resolve));
const upgrades = transports[0] === 'polling' && transports.length > 1;
const upgraded = upgrades && new Promise((resolve) => socket.io.engine.once('upgrade', resolve));

await hello;
await upgraded;
for (let n = 0; n < Number(count); n++) {
  const payload = { n, text: `echo ${n}` };
  const answer = await socket.emitWithAck('echo', payload);
  if (JSON.stringify(answer) !== JSON.stringify(payload)) finish(`echo ${n} came back as ${JSON.stringify(answer)}`);
  result.echoes++;
}
finish();

function finish(error) {
  result.transport = socket.io.engine?.transport?.name ?? '';
  console.log(JSON.stringify({ ...result, error }));
  process.exit(error ? 1 : 0);
}

// describe adds what engine.io hides behind "xhr poll error": the status or the socket's error.
function describe(error) {
  const detail = error.context?.status || error.context?.responseText || error.description?.message || '';
  return `${error.message} ${detail}`.split('\n')[0].trim();
}
