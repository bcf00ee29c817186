// node browser.js URL HOST PIN PROTOCOL [PICTURE]
//
// Makes Debian's Chromium open a page over one version of HTTP (http/1.1, h2 or h3), call its API and open its WebSocket, as the page
// itself does, and prints one line of JSON:
//   {"protocol":"h3","status":200,"title":"…","api":200,"apiProtocol":"h3","socket":"0{\"sid\":…","errors":[]}
// All names resolve to HOST. PIN is the only public key that Chromium trusts (the base64 of its SHA-256). PICTURE is the file of a
// screenshot.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { chromium } from 'playwright-core';
import { despiteNetworkChanges } from './networks.js';

const [url, host, pin, protocol, picture] = process.argv.slice(2);
const { host: origin } = new URL(url);
const versions = { 'http/1.1': ['--disable-http2', '--disable-quic'], h2: ['--disable-quic'], h3: [`--origin-to-force-quic-on=${origin}`] };
const profile = await mkdtemp(join(tmpdir(), 'edge-browser-'));
const browser = await chromium.launchPersistentContext(profile, {
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  args: [
    '--headless', '--no-sandbox', '--disable-gpu', '--no-first-run', '--disable-auto-reload', '--disable-background-networking', '--disable-component-update', '--disable-sync',
    `--host-resolver-rules=MAP * ${host}`, `--ignore-certificate-errors-spki-list=${pin}`, ...versions[protocol],
  ],
});
try {
  const page = await browser.newPage();
  const errors = [];
  page.on('pageerror', (error) => errors.push(String(error)));
  const answer = await despiteNetworkChanges(page, () => page.goto(url, { timeout: 30_000 }));
  const seen = await despiteNetworkChanges(page, () => page.evaluate(async () => {
    const api = await fetch('/api/echo');
    await api.text();
    const socket = new WebSocket(`${location.origin.replace('https', 'wss')}/socket/?EIO=4&transport=websocket`);
    const first = await new Promise((resolve, reject) => {
      socket.onmessage = (event) => resolve(event.data);
      socket.onerror = () => reject(new Error('the WebSocket fails'));
      setTimeout(() => reject(new Error('the WebSocket says nothing')), 10_000);
    });
    socket.close();
    // A request that failed for a change of networks has an entry too, before the one that counts.
    const over = (name) => performance.getEntriesByName(name).at(-1)?.nextHopProtocol;
    return {
      protocol: performance.getEntriesByType('navigation')[0].nextHopProtocol, title: document.title,
      api: api.status, apiProtocol: over(api.url), socket: first,
    };
  }));
  if (picture) await page.screenshot({ path: picture });
  console.log(JSON.stringify({ status: answer.status(), ...seen, errors }));
} finally {
  await browser.close();
  await rm(profile, { recursive: true, force: true });
}
