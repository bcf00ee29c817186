// Serves two versions of socket.io to the fleet: socket.io 4 below /v4, socket.io 2 below /v2, with the defaults of each. Every HTTP
// response, every greeting and every reply has the name of the container. The server exits at once on SIGTERM, and its sessions end
// with it.
import { createServer } from 'node:http';
import { hostname } from 'node:os';
import { Server } from 'socket.io';
import serveV2 from 'socket.io-v2';

const name = hostname();
const server = createServer((req, res) => {
  res.statusCode = 404;
  res.end();
});
serve(new Server(server, { path: '/v4', serveClient: false }));
serve(serveV2(server, { path: '/v2', serveClient: false }));

// This listener runs before those of socket.io, which have replaced the one above.
server.prependListener('request', (req, res) => res.setHeader('X-Server', name));
process.once('SIGTERM', () => process.exit(0));
server.listen(3000);

function serve(io) {
  io.on('connection', (socket) => {
    socket.emit('hello', name);
    socket.on('say', (n, reply) => reply(n, name));
  });
}
