// node client.js URL PATH TRANSPORTS COUNT
//
// Connects with the real socket.io client, waits for `hello`, does COUNT echo round trips and prints one line of JSON:
//   {"ok":true,"transport":"websocket","name":"…","echoes":5,"ms":42}
// or {"ok":false,"error":"…",…}, with the exit status 1. It does not reconnect, and gives up after 10 s: a proxy that needs a
// second attempt has failed.
//
// TRANSPORTS is separated by commas. With polling,websocket the upgrade must succeed before the echoes begin.
// HOST_MAP="name=127.0.0.1,other=127.0.0.1" replaces DNS. CA_FILE has the root of the server's certificate; without it the
// client does not verify certificates.
import http from 'node:http';
import https from 'node:https';
import { lookup as dnsLookup } from 'node:dns';
import { readFileSync } from 'node:fs';
import { isIP } from 'node:net';
import { io } from 'socket.io-client';

const [url, path, transportList, count] = process.argv.slice(2);
if (!count || !/^\d+$/.test(count)) {
  console.error('usage: node client.js URL PATH TRANSPORTS COUNT');
  process.exit(2);
}
const transports = transportList.split(',');
const start = Date.now();
const result = { ok: false, transport: '', name: '', echoes: 0 };

const trust = process.env.CA_FILE ? { ca: readFileSync(process.env.CA_FILE) } : { rejectUnauthorized: false };
const secure = /^(https|wss):/.test(url);
const agent = secure
  ? new https.Agent({ ...trust, lookup: mappedLookup(process.env.HOST_MAP) })
  : new http.Agent({ lookup: mappedLookup(process.env.HOST_MAP) });
const socket = io(url, { path, transports, agent, ...trust, reconnection: false, forceNew: true });

setTimeout(() => finish('not finished after 10 s'), 10_000);
socket.on('connect_error', (error) => finish(`connect: ${describe(error)}`));
socket.on('disconnect', (reason) => finish(`disconnected: ${reason}`));
socket.io.engine.on('upgradeError', (error) => finish(`upgrade: ${describe(error)}`));

// Both listeners are added before one is awaited: the upgrade may be complete before hello arrives.
const hello = new Promise((resolve) => socket.once('hello', resolve));
const upgrades = transports[0] === 'polling' && transports.length > 1;
const upgraded = upgrades && new Promise((resolve) => socket.io.engine.once('upgrade', resolve));

result.name = (await hello).name;
await upgraded;
for (let n = 0; n < Number(count); n++) {
  const payload = { n, text: `echo ${n}` };
  const answer = await socket.emitWithAck('echo', payload);
  if (JSON.stringify(answer) !== JSON.stringify(payload)) finish(`echo ${n} came back as ${JSON.stringify(answer)}`);
  result.echoes++;
}
finish();

function finish(error) {
  result.ok = !error;
  result.transport = socket.io.engine?.transport?.name ?? '';
  console.log(JSON.stringify({ ...result, ms: Date.now() - start, ...(error && { error }) }));
  process.exit(error ? 1 : 0);
}

// describe adds what engine.io hides behind "xhr poll error": the status or the socket's error.
function describe(error) {
  const detail = error.context?.status || error.context?.responseText || error.description?.message || '';
  return `${error.message} ${detail}`.split('\n')[0].trim();
}

function mappedLookup(map = '') {
  const addresses = new Map(map.split(',').filter(Boolean).map((pair) => pair.split('=')));
  return (hostname, options, callback) => {
    const address = addresses.get(hostname);
    if (!address) return dnsLookup(hostname, options, callback);
    const family = isIP(address);
    return options.all ? callback(null, [{ address, family }]) : callback(null, address, family);
  };
}
