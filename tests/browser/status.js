// node status.js URL DIR MESSAGES
//
// Uses the status page at URL as people do, with Debian's Chromium, and prints one line of JSON: what it has seen. DIR gets screenshots. The page
// must have services, the first of which is not fine.
import { join } from 'node:path';
import { violations } from './axe.js';
import { launch } from './launch.js';
import { despiteNetworkChanges } from './networks.js';

const [url, dir, count] = process.argv.slice(2);
const messages = Number(count);
const browser = await launch('--enable-precise-memory-info');
const seen = { errors: [], violations: [], overflow: [] };

// open opens the page, and waits until it shows services.
async function open(options, prepare) {
  const context = await browser.newContext({ viewport: { width: 1300, height: 900 }, ...options });
  const page = await context.newPage();
  page.on('pageerror', (error) => seen.errors.push(String(error)));
  page.on('console', (message) => message.type() === 'error' && seen.errors.push(message.text()));
  if (prepare) await prepare(page);
  await despiteNetworkChanges(page, () => page.goto(url));
  return page;
}

const shown = (page) => page.waitForFunction(() => document.querySelectorAll('#services tbody button').length > 0 && document.querySelector('#summary').className);

// Axe, in light and dark, and on a phone, with the details of a service open. Its script needs what the page's policy forbids.
for (const [name, options] of Object.entries({
  light: { colorScheme: 'light' }, dark: { colorScheme: 'dark' }, phone: { colorScheme: 'light', viewport: { width: 360, height: 800 }, hasTouch: true, isMobile: true },
})) {
  const page = await open({ ...options, bypassCSP: true });
  await shown(page);
  await page.locator('#services tbody button').first().click();
  await page.waitForTimeout(1500);
  await page.screenshot({ path: join(dir, `status-${name}.png`), fullPage: name === 'phone' });
  seen.violations.push(...await violations(page, name));
  const width = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
  if (width[0] > width[1]) seen.overflow.push(`${name}: ${width}`);
  await page.context().close();
}

// The keyboard: to the first service, open and close it, filter services and events.
{
  const page = await open({});
  await shown(page);
  // What is lost, the page knows from its second message on.
  await page.waitForFunction(() => document.querySelector('#summary').textContent.includes('have problems'));
  seen.title = await page.title();
  seen.summary = await page.textContent('#summary');
  seen.first = await page.textContent('#services tbody tr');
  seen.services = await page.locator('#services tbody button.toggle').count();
  await page.keyboard.press('Tab');
  seen.skip = await page.evaluate(() => document.activeElement.textContent);
  for (let i = 0; i < 10 && !await page.evaluate(() => document.activeElement.matches('button.toggle')); i++) await page.keyboard.press('Tab');
  await page.keyboard.press('Enter');
  seen.expanded = await page.evaluate(() => document.activeElement.getAttribute('aria-expanded') + ' ' + document.querySelectorAll('tr.details:not([hidden]) li').length);
  await page.keyboard.press('Enter');
  seen.collapsed = await page.evaluate(() => document.querySelectorAll('tr.details:not([hidden])').length);
  await page.getByLabel('Filter').first().fill('no such service');
  seen.filtered = await page.locator('#services tbody tr:not([hidden])').count();
  await page.getByLabel('Filter').first().fill('');
  await page.getByLabel('Kind').selectOption('reload');
  await page.waitForTimeout(200);
  seen.reloads = await page.locator('#events li').allTextContents();
  seen.bytes = await page.evaluate(() => performance.getEntriesByType('resource').concat(performance.getEntriesByType('navigation'))
    .filter((e) => !e.name.endsWith('/events')).reduce((sum, e) => sum + e.decodedBodySize, 0));
  seen.requests = await page.evaluate(() => performance.getEntriesByType('resource').map((e) => new URL(e.name).host).filter((host) => host !== location.host));
  await page.context().close();
}

// What it says, in the cases of an incident.
{
  const page = await open({});
  seen.words = await page.evaluate(async () => {
    const { judge, duration, age, limit, exhaustion, summarize } = await import('./words.js');
    const now = Date.now(), ago = (s) => new Date(now - s * 1000).toISOString();
    const service = (change) => ({ service: 'api:80', ready: 1, since: ago(600), held: 0, lost: {}, requests_per_second: 10, errors_per_second: 0, p95: 0.1, endpoints: [{ state: 'ready', reason: 'passed' }], ...change });
    const history = { p: Array(100).fill(100) };
    const say = (s, more) => { const j = judge(service(s), now, { history, ...more }); return `${j.level}: ${j.text}`; };
    return {
      fine: say({}), slow: say({ p95: 2 }), slowForLong: say({ p95: 2, baseline_p95: 0.1 }, { history: { p: Array(100).fill(2000) } }), slowAsUsual: say({ p95: 2, baseline_p95: 1.5 }), slowSinceDeploy: say({ p95: 2 }, { deployedAt: ago(120) }),
      dead: say({ ready: 0, since: ago(180), endpoints: [{ state: 'failing', reason: 'connection refused' }] }),
      deadAndRefusing: say({ ready: 0, since: ago(180), why: 'its containers are stopped', endpoints: [] }, { lostLately: 3 }),
      answeredByEdge: say({ errors_per_second: 5, own_errors_per_second: 5 }), badDeploy: say({ errors_per_second: 5 }, { deployedAt: ago(60) }), lost: say({}, { lostLately: 1 }), held: say({ held: 2 }),
      partly: say({ endpoints: [{ state: 'ready' }, { state: 'failing', reason: 'unhealthy' }] }), maintenance: say({ maintenance: 'refuse', ready: 0 }), maintenanceLasts: say({ maintenance: 'hold', maintenance_since: ago(1200) }),
      deploying: say({ endpoints: [{ state: 'ready' }, { state: 'starting' }, { state: 'draining' }] }), starting: say({ ready: 0, since: ago(5), endpoints: [{ state: 'starting', reason: 'waiting for its first answer' }] }),
      exhausted: exhaustion({ resource: 'descriptors', last: ago(5), hint: 'raise the limit' }, now).text,
      edge: summarize([{ level: 'bad' }], [exhaustion({ resource: 'ports', last: ago(5), hint: 'x' }, now)]).text,
      limited: Object.values(limit({ passed: 90, limited: 10, lately: 1 })).join(': '), unlimited: Object.values(limit({ passed: 90, limited: 10, lately: 0 })).join(': '),
      durations: [0, 0.0004, 0.0123, 0.11, 0.9996, 2.34, 61].map(duration).join(' '), ages: [0, 59, 60, 3599, 7200, 200000].map((s) => age(ago(s), now)).join(', '),
    };
  });
  await page.context().close();
}

// How long it takes from the request of a change until the page shows it: 50 changes, and again on a busy machine. The last service is drained, and the drain undone.
{
  const context = await browser.newContext({ httpCredentials: { username: 'admin', password: 'secret' } });
  const page = await context.newPage();
  await despiteNetworkChanges(page, () => page.goto(url.replace('/status/', '/actions/')));
  await shown(page);
  for (let round = 0; round < 3; round++) {
    const delays = await page.evaluate(async () => {
      const last = await new Promise((resolve) => {
        const source = new EventSource('events');
        source.onmessage = (e) => { source.close(); resolve(JSON.parse(e.data).services.at(-1)); };
      });
      const row = [...document.querySelectorAll('#services tbody tr')].find((r) => r.querySelector('button.toggle')?.textContent === last.service);
      const all = [];
      for (let i = 0; i < 50; i++) {
        const undo = i % 2 === 1, begin = performance.now();
        const seen = new Promise((resolve) => {
          const observer = new MutationObserver(() => row.querySelector('td').textContent.endsWith('1 ready') === undo && (observer.disconnect(), resolve(performance.now())));
          observer.observe(row, { childList: true, subtree: true, characterData: true });
          setTimeout(() => resolve(Infinity), 10_000);
        });
        const answer = await fetch('actions', { method: 'POST', headers: { 'Content-Type': 'application/json', 'X-Edge-Action': '1' }, body: JSON.stringify({ drain: { endpoint: last.endpoints[0].id, undo } }) });
        if (!answer.ok) throw new Error(`a drain: ${answer.status}`);
        all.push(await seen - begin);
        await new Promise((resolve) => setTimeout(resolve, 150));
      }
      return all.sort((a, b) => a - b);
    });
    if (delays.at(-1) === Infinity) seen.errors.push(`a change is not shown: the page says ${await page.textContent('#services tbody')}`.slice(0, 500));
    seen.delay = { median: delays[25], max: delays.at(-1) };
    if (seen.delay.median <= 100) break;
  }
  await context.close();
}

// Messages, one each five seconds (17,280 are a day), of as many services, in a page that is fed by hand: it must not grow.
{
  const page = await open({}, (p) => p.addInitScript(() => {
    window.EventSource = class { constructor() { window.feed = (m) => this.onmessage({ data: JSON.stringify(m) }); } };
  }));
  await page.waitForFunction(() => window.feed);
  const feed = (from, to) => page.evaluate(async ([from, to, count]) => {
    const names = Array.from({ length: count }, (_, i) => `s${i}:80`);
    for (let i = from; i < to; i++) {
      const at = new Date(Date.now()).toISOString();
      const services = names.map((service, n) => ({ service, ready: (i + n) % 7 ? 1 : 0, since: at, held: i % 3, in_flight: i % 5, sockets: 0, lost: { refused: i, not_sent: 0, not_answered: 0, unknown: 0 },
        requests_per_second: i % 100, errors_per_second: i % 10, p50: 0.01, p95: 0.1, p99: 0.2, source: 'engine', endpoints: [{ id: `${service}-${i % 50}`, state: (i + n) % 7 ? 'ready' : 'failing', reason: 'x', since: at, requests: i, in_flight: 0, sockets: 0 }] }));
      window.feed({
        hello: i === 0 ? { version: 'v', interval: 5, length: 179, actions: false } : undefined,
        overview: i % 60 === 0 ? { time: at, started: at, generation: 1, sources: { engine: true }, certificates: [], backups: [], backup_problems: [] } : undefined, services,
        events: i % 7 ? undefined : [{ number: i, time: at, kind: 'endpoint', level: 'info', service: 's0:80', endpoint: 'x', text: `event ${i}` }],
        history: Object.fromEntries(names.map((name) => [name, { start: Math.floor(Date.now() / 1000), r: [i % 100], e: [i % 10], p: [i % 300] }])),
      });
      if (i % 100 === 0) await new Promise((resolve) => requestAnimationFrame(resolve));
    }
  }, [from, to, seen.services]);
  const session = await page.context().newCDPSession(page);
  await session.send('Performance.enable');
  const measure = async () => {
    for (let i = 0; i < 3; i++) await session.send('HeapProfiler.collectGarbage');
    const { metrics } = await session.send('Performance.getMetrics');
    const get = (name) => metrics.find((m) => m.name === name).value;
    return { heap: get('JSHeapUsedSize'), nodes: get('Nodes'), listeners: get('JSEventListeners') };
  };
  await feed(0, 2000);
  const before = await measure();
  await feed(2000, 2000 + messages);
  const after = await measure();
  seen.day = { before, after };
  await page.context().close();
}
await browser.close();
console.log(JSON.stringify(seen));
