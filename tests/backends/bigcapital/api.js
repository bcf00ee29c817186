import { exercises } from './exercise.js';
import { sendJSON } from './json.js';

const jsonLimit = 100 * 1024; // Express's default, which the application keeps

// The response of paths that the edge must block. A test that gets it has found a hole.
const leaks = ['/api/queues', '/agendash', '/public', '/swagger'];

// answer serves one request of the application's API.
export function answer(name, req, res) {
  const [pathname, query] = req.url.split(/\?(.*)/s); // new URL would throw an error for some clients' paths
  const url = { pathname, searchParams: new URLSearchParams(query) };
  res.setHeader('X-Test-Backend', name);
  const exercise = exercises[url.pathname];
  if (exercise) return exercise(name, url, req, res);
  if (leaks.some((path) => url.pathname === path || url.pathname.startsWith(`${path}/`))) return res.end('LEAK\n');
  if (url.pathname === '/api/system_db') return sendJSON(res, 200, { status: 'ok' });
  if (url.pathname === '/api/json' && req.method === 'POST') return json(req, res);
  // This includes /api/ping, which V0.24 does not have.
  sendJSON(res, 404, { message: `Cannot ${req.method} ${url.pathname}`, error: 'Not Found', statusCode: 404 });
}

// json accepts a JSON document, up to the application's own limit.
async function json(req, res) {
  const tooLarge = () => sendJSON(res, 413, { message: 'request entity too large', statusCode: 413 });
  if (Number(req.headers['content-length']) > jsonLimit) return tooLarge();
  const chunks = [];
  let bytes = 0;
  try {
    for await (const chunk of req.iterator({ destroyOnReturn: false })) {
      bytes += chunk.length;
      if (bytes > jsonLimit) return tooLarge();
      chunks.push(chunk);
    }
  } catch {
    return; // the client has left
  }
  try {
    JSON.parse(Buffer.concat(chunks));
  } catch (error) {
    return sendJSON(res, 400, { message: error.message, error: 'Bad Request', statusCode: 400 });
  }
  sendJSON(res, 201, { bytes });
}
