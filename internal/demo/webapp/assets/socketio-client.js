'use strict';

// SocketIOClient keeps one Socket.IO connection, over WebSocket only, and reconnects when it is lost. It implements only the
// part of the protocol that the page needs: Engine.IO 4 packets, one per message, and Socket.IO events and acknowledgements in
// the default namespace.
//
// It starts with WebSocket, because all requests of a session that polls must reach the same server.
class SocketIOClient {
  // on.state(name, attempt) is called with 'connecting', 'live' or 'reconnecting', on.event(name, argument) with the server's events.
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
    this.socket.onmessage = ({ data }) => this.handlePacket(data);
    this.socket.onclose = () => this.reconnect();
    this.startWatchdog(this.packetTimeout = 20_000);
  }

  // startWatchdog reconnects unless a packet arrives in time. When the network fails, the browser reports nothing.
  startWatchdog(milliseconds) {
    clearTimeout(this.watchdog);
    this.watchdog = setTimeout(() => this.reconnect(), milliseconds);
  }

  handlePacket(text) {
    this.startWatchdog(this.packetTimeout);
    switch (text[0]) {
      case '0': { // open
        const { pingInterval, pingTimeout } = JSON.parse(text.slice(1));
        this.startWatchdog(this.packetTimeout = pingInterval + pingTimeout);
        this.socket.send('40');
        break;
      }
      case '2': // ping
        this.socket.send('3');
        break;
      case '4':
        this.handleMessage(text.slice(1));
        break;
    }
  }

  handleMessage(text) {
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
      this.reconnect(); // the server has disconnected the client, or rejected it
    }
  }

  // emitWithAck sends an event and resolves with the server's acknowledgement. It rejects if the connection is lost first.
  emitWithAck(event, argument) {
    return new Promise((resolve, reject) => {
      const ack = String(++this.lastAck);
      this.acks.set(ack, { resolve, reject });
      this.socket.send(`42${ack}${JSON.stringify([event, argument])}`);
    });
  }

  reconnect() {
    clearTimeout(this.watchdog);
    this.socket.onmessage = this.socket.onclose = null;
    this.socket.close();
    for (const { reject } of this.acks.values()) reject(new Error('connection lost'));
    this.acks.clear();
    this.attempt++;
    this.on.state('reconnecting', this.attempt);
    // From 0.25 s to 10 s, and random, so that the clients of a lost server do not all come back at the same time.
    const delay = Math.min(500 * 2 ** (this.attempt - 1), 10_000) * (0.5 + Math.random() / 2);
    setTimeout(() => this.connect(), delay);
  }
}
