import { Server } from 'socket.io';

// The application moved from /socket.io to /socket in 2024. An edge has to serve both.
const paths = ['/socket', '/socket.io'];

// serveSockets mounts a Socket.IO server on each path, with the application's settings, which are the defaults (ping every 25 s,
// timeout 20 s, 1 MB per message). It emits `hello` to new clients, acknowledges `echo` with its payload, and emits `tick` every
// second.
export function serveSockets(name, server) {
  return paths.map((path) => {
    const io = new Server(server, { path, serveClient: false });
    io.on('connection', (socket) => {
      socket.emit('hello', { name, transport: socket.conn.transport.name });
      socket.on('echo', (payload, ack) => ack?.(payload));
    });
    let n = 0;
    setInterval(() => io.emit('tick', ++n), 1000).unref();
    return io;
  });
}
