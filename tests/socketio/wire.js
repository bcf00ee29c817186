import { subscribe } from 'node:diagnostics_channel';
import { Agent } from 'node:http';
import { connect } from 'node:net';

// Wire owns the connections of one client. It sees what the libraries hide: error responses with their bodies, which server
// answered, and cookies.
export class Wire extends Agent {
  server = ''; // the one that began the last session
  trouble = ''; // the first error of this session
  headers = {}; // sent with every request

  // Wire calls refused(status, sid, by, body) for every response with an error status. With keepsCookies it keeps cookies, as
  // browsers do: version 2 of the library leaves that to them.
  constructor(refused, keepsCookies) {
    super({ keepAlive: !paused });
    this.refused = refused;
    this.cookies = keepsCookies && new Map();
    wires.add(this);
  }

  createConnection(options, done) {
    if (paused !== 'all' && (paused !== 'polls' || options.method !== 'GET')) return connect(options);
    waiting.push(() => done(null, connect(options)));
  }

  started(request) {
    inFlight++;
    request.once('close', ended);
    request.on('error', (error) => (this.trouble ||= error.code ?? error.message));
  }

  answered(request, response) {
    const sid = new URL(request.path, 'http://edge').searchParams.get('sid') ?? '';
    const by = response.headers['x-server'] ?? '';
    if (this.cookies) this.keep(response.headers['set-cookie'] ?? []);
    if (response.statusCode < 400) {
      if (!sid) this.server = by;
      return;
    }
    this.trouble ||= `status ${response.statusCode}`;
    let body = '';
    response.on('data', (chunk) => (body += chunk));
    response.on('end', () => this.refused(response.statusCode, sid, by, body));
  }

  keep(cookies) {
    for (const cookie of cookies) {
      const [, name, value] = /^([^=]+)=([^;]*)/.exec(cookie);
      this.cookies.set(name, value);
    }
    if (this.cookies.size > 0) this.headers.Cookie = [...this.cookies].map((pair) => pair.join('=')).join('; ');
  }
}

const wires = new Set();
const waiting = []; // functions that open the connections which pause kept back
let paused = ''; // '', 'polls' or 'all'
let inFlight = 0;
let onIdle;

// pause keeps back what clients would send, and calls idle once no request is in flight. A test can then replace the proxy
// without interrupting a request: an interrupted poll ends its session, whatever the proxy knows. At first pause keeps back only
// polls, because the server answers what a client still sends on the poll that the client has.
export function pause(idle) {
  paused = 'polls';
  for (const wire of wires) {
    wire.keepAlive = false;
    for (const socket of Object.values(wire.freeSockets).flat()) socket.destroy();
  }
  onIdle = () => {
    paused = 'all';
    idle();
  };
  inFlight++;
  ended();
}

// resume sends what pause kept back.
export function resume() {
  paused = '';
  for (const wire of wires) wire.keepAlive = true;
  for (const go of waiting.splice(0)) go();
}

function ended() {
  if (--inFlight > 0 || !onIdle) return;
  onIdle();
  onIdle = undefined;
}

// This event comes when a request has been written, so not for one whose connection is kept back.
subscribe('http.client.request.start', ({ request }) => {
  if (request.agent instanceof Wire) request.agent.started(request);
});
subscribe('http.client.response.finish', ({ request, response }) => {
  if (request.agent instanceof Wire) request.agent.answered(request, response);
});
