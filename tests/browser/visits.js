// node visits.js URL HOST VISITS
//
// Has new visitors, one after the other and each with an empty cache, open a page and say something over its WebSocket in Debian's Chromium. It prints one
// line of JSON with a list for each visitor: what was requested, and what the answer's header CF-Cache-Status was.
//   [{"requests":[{"path":"/","status":200,"cache":"DYNAMIC"}],"socket":"…","errors":[]}]
// All names resolve to HOST, and certificates are not checked.
import { launch } from './launch.js';
import { despiteNetworkChanges } from './networks.js';

const [url, host, visits] = process.argv.slice(2);
const browser = await launch(`--host-resolver-rules=MAP * ${host}`);
try {
  const seen = [];
  for (let i = 0; i < Number(visits); i++) seen.push(await visit());
  console.log(JSON.stringify(seen));
} finally {
  await browser.close();
}

async function visit() {
  const context = await browser.newContext({ ignoreHTTPSErrors: true });
  const page = await context.newPage();
  let requests = [];
  let errors = [];
  page.on('pageerror', (error) => errors.push(String(error)));
  page.on('response', (answer) => requests.push({
    path: new URL(answer.url()).pathname, status: answer.status(), cache: answer.headers()['cf-cache-status'] ?? '',
  }));
  const socket = await despiteNetworkChanges(page, async () => {
    requests = [];
    errors = [];
    await page.goto(url, { timeout: 30_000, waitUntil: 'networkidle' });
    if (errors.length > 0) throw new Error(errors.join('; ')); // such as a fetch that failed since a network has changed
    return page.evaluate(() => new Promise((resolve, reject) => {
      const socket = new WebSocket(`${location.origin.replace('https', 'wss')}/socket`);
      socket.onopen = () => socket.send('hello');
      socket.onmessage = (event) => { resolve(event.data); socket.close(); };
      socket.onerror = () => reject(new Error('the WebSocket fails'));
      setTimeout(() => reject(new Error('the WebSocket says nothing')), 10_000);
    }));
  });
  await context.close();
  return { requests, socket, errors };
}
