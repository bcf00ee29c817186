import { subscribe } from 'node:diagnostics_channel';
import { Agent } from 'node:http';
import { connect } from 'node:net';

// Wire is the connections of one client. It sees what the libraries hide: refusals with their bodies, which server answered,
// and cookies.
export class Wire extends Agent {
  server = ''; // that began the last session
  trouble = ''; // what first went wrong in this session
  headers = {}; // that go out with every request

  // refused(status, sid, by, body) is called for every answer that is an error. With keepsCookies, it plays the browser that
  // the library leaves cookies to.
  constructor(refused, keepsCookies) {
    super({ keepAlive: !held });
    this.refused = refused;
    this.cookies = keepsCookies && new Map();
    wires.add(this);
  }

  createConnection(options, done) {
    if (held !== 'all' && (held !== 'polls' || options.method !== 'GET')) return connect(options);
    waiting.push(() => done(null, connect(options)));
  }

  started(request) {
    underWay++;
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
const waiting = []; // connections, until release
let held = ''; // '', 'polls' or 'all'
let underWay = 0;
let onQuiet;

// hold keeps back what clients would send, and calls quiet once nothing is under way: for a proxy that is to be away
// without cutting a request, because a poll that is cut ends a session whatever the proxy knows. First only polls are
// held: what a client still says is answered on the poll that it has.
export function hold(quiet) {
  held = 'polls';
  for (const wire of wires) {
    wire.keepAlive = false;
    for (const socket of Object.values(wire.freeSockets).flat()) socket.destroy();
  }
  onQuiet = () => {
    held = 'all';
    quiet();
  };
  underWay++;
  ended();
}

// release lets go what was held.
export function release() {
  held = '';
  for (const wire of wires) wire.keepAlive = true;
  for (const go of waiting.splice(0)) go();
}

function ended() {
  if (--underWay > 0 || !onQuiet) return;
  onQuiet();
  onQuiet = undefined;
}

// Said when a request has been written, so not of one whose connection is held.
subscribe('http.client.request.start', ({ request }) => {
  if (request.agent instanceof Wire) request.agent.started(request);
});
subscribe('http.client.response.finish', ({ request, response }) => {
  if (request.agent instanceof Wire) request.agent.answered(request, response);
});
