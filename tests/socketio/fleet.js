// node fleet.js URL [--v2 N] [--v4 N] [--transports polling,websocket] [--cookies] [--every MS] [--ramp MS]
//
// Runs N clients of each version of socket.io, which start within `ramp` milliseconds and send a message about every `every`
// milliseconds. It prints a line of JSON for each event, with `at` (Unix time in milliseconds) and `client`:
//
//   open      a server has greeted a session:            sid, server, transport
//   closed    a session has ended:                       sid, server, reason, cause, code (WebSocket's), lost (not answered)
//   refused   an HTTP response was an error:             sid, server (that began it), by (that refused), status, body
//   failed    a session could not begin:                 sid, server (if there was one), reason, cause
//   misrouted a wrong server has answered, or wrongly:   sid, server, by
//   answered  the first answer after mark:               sid, server, transport
//   stalled   this program could not run:                ms
//   idle      after pause: no request is in flight
//   total     at the end:                                sent, answered
//
// It reads a command from each line of its input, and exits at the end of the input:
//
//   mark      make each client report its next answer
//   pause     keep back what clients would send
//   resume    send what pause kept back
import { createInterface } from 'node:readline';
import { setTimeout as after } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { Client } from './client.js';
import { pause, resume } from './wire.js';

const { values, positionals: [url] } = parseArgs({
  allowPositionals: true,
  options: {
    v2: { type: 'string', default: '0' },
    v4: { type: 'string', default: '0' },
    transports: { type: 'string', default: 'polling,websocket' },
    cookies: { type: 'boolean', default: false },
    every: { type: 'string', default: '2000' },
    ramp: { type: 'string', default: '0' },
  },
});
const options = { url, transports: values.transports.split(','), cookies: values.cookies, every: Number(values.every) };
const clients = [];

const commands = {
  mark: () => clients.forEach((client) => (client.marked = true)),
  pause: () => pause(() => report('idle')),
  resume,
};

createInterface({ input: process.stdin })
  .on('line', (command) => commands[command]())
  .on('close', () => {
    const sum = (field) => clients.reduce((all, client) => all + client[field], 0);
    process.stdout.write(line('total', { sent: sum('sent'), answered: sum('answered') }), () => process.exit());
  });

// Without this, events that the program could only record late would look as if they had happened together.
const tick = 20;
let last = Date.now();
setInterval(() => {
  const ms = Date.now() - last - tick;
  last += ms + tick;
  if (ms >= 100) report('stalled', { ms });
}, tick);

const names = ['v2', 'v4'].flatMap((version) => Array.from({ length: Number(values[version]) }, (_, i) => [`${version}-${i}`, version]));
for (const [name, version] of names) {
  clients.push(new Client(name, version, options, report));
  await after(Number(values.ramp) / names.length);
}

function report(event, fields) {
  process.stdout.write(line(event, fields));
}

function line(event, fields) {
  return `${JSON.stringify({ event, at: Date.now(), ...fields })}\n`;
}
