import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

// awaitTCP resolves when host:port accepts a connection; at once if host or port is not set.
export async function awaitTCP(host, port) {
  if (!host || !port) return;
  while (!(await accepts(host, Number(port)))) await sleep(200);
}

function accepts(host, port) {
  return new Promise((resolve) => {
    const socket = connect({ host, port, timeout: 1000 });
    const end = (accepted) => {
      socket.destroy();
      resolve(accepted);
    };
    socket.once('connect', () => end(true));
    socket.once('timeout', () => end(false));
    socket.once('error', () => end(false));
  });
}
