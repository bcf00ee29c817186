// The test routes. They answer as those of ../app/test_routes.go do.
import { createHash } from 'node:crypto';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { sendJSON } from './json.js';

export const exercises = {
  '/api/echo': echo,
  '/api/upload': upload,
  '/api/download': download,
  '/api/events': events,
  '/api/slow': slow,
};

// The request as it arrived.
async function echo(name, url, req, res) {
  let bodyBytes = 0;
  try {
    for await (const chunk of req) bodyBytes += chunk.length;
  } catch {
    return;
  }
  sendJSON(res, 200, {
    name,
    role: 'bigcapital-server',
    method: req.method,
    uri: req.url,
    host: req.headers.host ?? '',
    proto: `HTTP/${req.httpVersion}`,
    remote: remoteOf(req.socket),
    headers: canonicalHeaders(req),
    bodyBytes,
  });
}

// POST, PUT: counts and hashes the body while it streams in.
async function upload(name, url, req, res) {
  if (req.method !== 'POST' && req.method !== 'PUT') {
    res.setHeader('Allow', 'POST, PUT');
    return sendJSON(res, 405, { message: 'upload wants POST or PUT', statusCode: 405 });
  }
  const hash = createHash('sha256');
  let bytes = 0;
  try {
    for await (const chunk of req) {
      bytes += chunk.length;
      hash.update(chunk);
    }
  } catch {
    return;
  }
  sendJSON(res, 200, { bytes, sha256: hash.digest('hex') });
}

// ?bytes=N: streams N bytes.
function download(name, url, req, res) {
  const bytes = wholeNumber(url.searchParams.get('bytes') ?? '');
  if (bytes === undefined) return sendJSON(res, 400, { message: 'bytes must be a number, 0 or more' });
  res.writeHead(200, { 'Content-Type': 'application/octet-stream', 'Content-Length': bytes });
  pipeline(Readable.from(zeros(bytes)), res).catch(() => {}); // the client has left
}

function* zeros(bytes) {
  const chunk = Buffer.alloc(32 << 10);
  for (; bytes > 0; bytes -= chunk.length) yield bytes < chunk.length ? chunk.subarray(0, bytes) : chunk;
}

// ?interval=200ms&count=10: server-sent events "data: 1", "data: 2", …; with count=0 they end when the client leaves.
function events(name, url, req, res) {
  const interval = milliseconds(url.searchParams.get('interval') ?? '200ms');
  const count = wholeNumber(url.searchParams.get('count') ?? '10');
  if (!interval || count === undefined) return sendJSON(res, 400, { message: 'interval or count can not be read' });
  res.writeHead(200, { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-cache' });
  let n = 0;
  const next = () => {
    res.write(`data: ${++n}\n\n`);
    if (n === count) res.end();
  };
  const timer = setInterval(next, interval);
  res.on('close', () => clearInterval(timer));
  res.on('finish', () => clearInterval(timer));
  next();
}

// ?d=130s: sends the first byte after d.
function slow(name, url, req, res) {
  const d = url.searchParams.get('d') ?? '1s';
  const delay = milliseconds(d);
  if (delay === undefined) return sendJSON(res, 400, { message: 'd must be a duration' });
  req.resume();
  const timer = setTimeout(() => res.end(`slow ${d}\n`), delay);
  res.on('close', () => clearTimeout(timer));
}

// remoteOf writes an address as Go does: an IPv4 client of a dual-stack socket is an IPv4 client.
function remoteOf(socket) {
  const address = socket.remoteAddress.replace(/^::ffff:/, '');
  return `${address.includes(':') ? `[${address}]` : address}:${socket.remotePort}`;
}

// canonicalHeaders returns the headers as Go's http.Header has them, without Host, which has a field of its own.
function canonicalHeaders(req) {
  const headers = {};
  for (const [name, values] of Object.entries(req.headersDistinct)) {
    if (name === 'host') continue;
    headers[name.replace(/(^|-)[a-z]/g, (letter) => letter.toUpperCase())] = values;
  }
  return headers;
}

function wholeNumber(text) {
  return /^\d+$/.test(text) ? Number(text) : undefined;
}

// milliseconds parses a Go duration of one unit, such as 200ms, 1.5s or 2m.
function milliseconds(text) {
  const [, number, unit] = /^(\d+(?:\.\d+)?)(ms|s|m|h)$/.exec(text) ?? [];
  return unit && Number(number) * { ms: 1, s: 1000, m: 60_000, h: 3_600_000 }[unit];
}
