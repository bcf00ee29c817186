// node actions.js URL USER PASSWORD DIR
//
// Takes the actions of the status page at URL, of whose only service one container is ready, as people do, and prints one line of JSON: what it has seen. DIR gets a screenshot.
import { join } from 'node:path';
import { violations } from './axe.js';
import { launch } from './launch.js';
import { despiteNetworkChanges } from './networks.js';

const [url, username, password, dir] = process.argv.slice(2);
const browser = await launch();
const httpCredentials = { username, password };
const seen = { errors: [], violations: [] };

// Axe, with the buttons of a service, and with the question that one asks.
for (const [name, options] of Object.entries({
  light: { colorScheme: 'light' }, dark: { colorScheme: 'dark' }, 'phone, dark': { colorScheme: 'dark', viewport: { width: 360, height: 800 }, hasTouch: true, isMobile: true },
})) {
  const page = await (await browser.newContext({ ...options, httpCredentials, bypassCSP: true })).newPage();
  await despiteNetworkChanges(page, () => page.goto(url));
  await page.locator('#services tbody button.toggle').click();
  const drain = page.locator('tr.details').getByRole('button', { name: 'Drain', exact: true });
  await drain.waitFor();
  seen.violations.push(...await violations(page, `${name}, buttons`));
  await drain.click();
  await page.getByRole('dialog').waitFor();
  seen.violations.push(...await violations(page, `${name}, question`));
  await page.context().close();
}

const page = await (await browser.newContext({ httpCredentials })).newPage();
page.on('pageerror', (error) => seen.errors.push(String(error)));
await despiteNetworkChanges(page, () => page.goto(url));
const details = page.locator('tr.details');
await page.locator('#services tbody button.toggle').click();

// take presses a button, reads what is asked, answers it, and waits until the details have another button.
async function take(name, answer, next) {
  await details.getByRole('button', { name, exact: true }).click();
  const dialog = page.getByRole('dialog');
  const question = await dialog.locator('#confirm-text').textContent();
  if (name === 'Drain') await page.screenshot({ path: join(dir, 'status-confirm.png') });
  if (answer === 'Escape') await page.keyboard.press('Escape');
  else await dialog.getByRole('button', { name: answer }).click();
  await dialog.waitFor({ state: 'hidden' });
  await details.getByRole('button', { name: next, exact: true }).waitFor();
  return question;
}

// What is not confirmed is not done. The next message of the stream would show it.
const posts = [];
page.on('request', (request) => request.method() === 'POST' && posts.push(request.postData()));
await take('Drain', 'No', 'Drain');
await take('Begin maintenance', 'Escape', 'Begin maintenance');
await page.waitForTimeout(1500);
seen.unconfirmed = posts.length;

seen.drain = await take('Drain', 'Yes', 'Undo the drain');
seen.drained = await details.locator('li').first().textContent();
seen.undo = await take('Undo the drain', 'Yes', 'Drain');
seen.close = await take('Begin maintenance', 'Yes', 'End the maintenance');
seen.closed = (await page.request.get(new URL('/', url).href)).status();
seen.open = await take('End the maintenance', 'Yes', 'Begin maintenance');
seen.opened = (await page.request.get(new URL('/', url).href)).status();

// An action that fails says so.
await page.route('**/actions', (route) => route.fulfill({ status: 502 }));
await take('Drain', 'Yes', 'Drain');
await page.waitForFunction(() => document.querySelector('#connection').textContent.includes('did not work'));
seen.failed = await page.textContent('#connection');
await browser.close();
console.log(JSON.stringify(seen));
