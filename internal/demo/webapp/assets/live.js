'use strict';

// Live keeps one Socket.IO connection, over WebSocket alone, and opens it again when it is gone.
// It speaks just enough of the protocol: Engine.IO 4 packets, one per message, and Socket.IO events and
// acknowledgements in the default namespace.
//
// It starts with WebSocket because a session that polls must always reach the same server.
class Live {
  // on.state(name, attempt) is told 'connecting', 'live' or 'reconnecting'; on.event(name, argument) the server's events.
  constructor(path, on) {
    this.url = `${location.protocol === 'https:' ? 'wss' : 'ws'}://${location.host}${path}?EIO=4&transport=websocket`;
    this.on = on;
    this.attempt = 0;
    this.acks = new Map();
    this.lastAck = 0;
    this.connect();
  }

  connect() {
    this.on.state(this.attempt === 0 ? 'connecting' : 'reconnecting', this.attempt);
    this.socket = new WebSocket(this.url);
    this.socket.onmessage = ({ data }) => this.packet(data);
    this.socket.onclose = () => this.lost();
    this.expect(this.patience = 20_000);
  }

  // expect gives the server so long to say something. A network that has gone away says nothing at all.
  expect(milliseconds) {
    clearTimeout(this.watchdog);
    this.watchdog = setTimeout(() => this.lost(), milliseconds);
  }

  packet(text) {
    this.expect(this.patience);
    switch (text[0]) {
      case '0': { // open
        const { pingInterval, pingTimeout } = JSON.parse(text.slice(1));
        this.expect(this.patience = pingInterval + pingTimeout);
        this.socket.send('40');
        break;
      }
      case '2': // ping
        this.socket.send('3');
        break;
      case '4':
        this.message(text.slice(1));
        break;
    }
  }

  message(text) {
    const [, kind, ack, data] = text.match(/^(\d)(\d*)(.*)$/s);
    if (kind === '0') {
      this.attempt = 0;
      this.on.state('live', 0);
    } else if (kind === '2') {
      this.on.event(...JSON.parse(data));
    } else if (kind === '3') {
      this.acks.get(ack)?.resolve(JSON.parse(data));
      this.acks.delete(ack);
    } else {
      this.lost(); // turned out, or turned away
    }
  }

  // ask sends an event and resolves with the server's acknowledgement; it rejects if the connection is lost first.
  ask(event, argument) {
    return new Promise((resolve, reject) => {
      const ack = String(++this.lastAck);
      this.acks.set(ack, { resolve, reject });
      this.socket.send(`42${ack}${JSON.stringify([event, argument])}`);
    });
  }

  lost() {
    clearTimeout(this.watchdog);
    this.socket.onmessage = this.socket.onclose = null;
    this.socket.close();
    for (const { reject } of this.acks.values()) reject(new Error('connection lost'));
    this.acks.clear();
    this.attempt++;
    this.on.state('reconnecting', this.attempt);
    // From half a second to ten, and never the same for all who lost the same server.
    const pause = Math.min(500 * 2 ** (this.attempt - 1), 10_000) * (0.5 + Math.random() / 2);
    setTimeout(() => this.connect(), pause);
  }
}
