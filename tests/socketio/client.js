import { io as connectV4 } from 'socket.io-client';
import connectV2 from 'socket.io-client-v2';
import { Wire } from './wire.js';

const connectors = { v2: connectV2, v4: connectV4 };
const began = new Map(); // sid → the server that began the session

// Client is one socket.io client that sends messages and counts the answers. It reconnects as the library does by default.
export class Client {
  session = undefined; // { sid, server, unanswered, code }
  sent = 0;
  answered = 0;
  marked = false; // report the first answer to a message that is sent from now on

  // version is v2 or v4; options are { url, transports, cookies, every }; report(event, fields) is called for each event.
  constructor(name, version, options, report) {
    this.every = options.every;
    this.report = (event, fields) => report(event, { client: name, ...fields });
    this.wire = new Wire((status, sid, by, body) => {
      this.report('refused', { status, sid, server: began.get(sid) ?? '', by, body });
    }, version === 'v2' && options.cookies);
    this.wire.headers['X-Client'] = name; // for logs, and because version 2 ignores an empty object
    this.socket = connectors[version](options.url, {
      path: `/${version}`,
      transports: options.transports,
      agent: this.wire,
      forceNew: true,
      extraHeaders: this.wire.headers,
      withCredentials: options.cookies, // version 4 then keeps cookies by itself
    });
    this.socket.on('connect_error', (error) => this.failed(error.message));
    this.socket.on('hello', (server) => this.greeted(server));
    this.socket.io.on('open', () => this.opened(this.socket.io.engine));
    this.socket.io.on('close', (reason) => this.closed(reason));
    this.talk();
  }

  opened(engine) {
    const session = { sid: engine.id, server: this.wire.server, unanswered: 0, code: 0 };
    this.session = session;
    this.wire.trouble = '';
    began.set(session.sid, session.server);
    const watch = (transport) => transport.ws?.prependListener('close', (code) => (session.code = code));
    watch(engine.transport);
    engine.on('upgrade', watch);
  }

  // failed is also called for an open session whose server has not sent hello: the server may have ended.
  failed(reason) {
    const { sid = '', server = '' } = this.session ?? {};
    this.report('failed', { sid, server, reason, cause: this.wire.trouble });
  }

  greeted(server) {
    const { session } = this;
    session.server = server;
    began.set(session.sid, server);
    this.report('open', { sid: session.sid, server, transport: this.socket.io.engine.transport.name });
  }

  closed(reason) {
    const { session } = this;
    if (!session) return; // it has not begun
    this.session = undefined;
    const { sid, server, unanswered: lost, code } = session;
    this.report('closed', { sid, server, reason, cause: this.wire.trouble, code, lost });
  }

  // talk sends a message about every `every` milliseconds, unless the last one has no answer yet.
  talk() {
    setTimeout(() => this.talk(), this.every * (0.75 + Math.random() / 2));
    const { session, marked } = this;
    if (!this.socket.connected || !session || session.unanswered > 0) return;
    const n = ++this.sent;
    session.unanswered++;
    this.socket.emit('say', n, (echo, server) => {
      session.unanswered--;
      this.answered++;
      if (echo !== n || server !== session.server) this.report('misrouted', { sid: session.sid, server: session.server, by: server });
      if (!marked || !this.marked) return;
      this.marked = false;
      this.report('answered', { sid: session.sid, server, transport: this.socket.io.engine.transport.name });
    });
  }
}
