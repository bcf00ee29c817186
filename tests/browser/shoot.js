// node shoot.js DIR NAME=URL [NAME=URL…]
//
// Writes screenshots of pages to DIR/NAME-light.png and DIR/NAME-dark.png. It does not verify certificates, and resolves names below
// .localhost to this machine. AUTHORIZATION is a header for pages behind a log-in; of those, it waits for what their streams bring. It prints a line for each
// picture and, of the status page, the sentences that it says.
import { join } from 'node:path';
import { launch } from './launch.js';
import { despiteNetworkChanges } from './networks.js';

const [dir, ...pages] = process.argv.slice(2);
const browser = await launch('--disable-quic');
for (const colorScheme of ['light', 'dark']) {
  const context = await browser.newContext({ colorScheme, ignoreHTTPSErrors: true, viewport: { width: 800, height: 500 }, extraHTTPHeaders: process.env.AUTHORIZATION ? { Authorization: process.env.AUTHORIZATION } : {} });
  for (const entry of pages) {
    const [, name, url] = /^([^=]+)=(.*)$/.exec(entry);
    const page = await context.newPage();
    const answer = await despiteNetworkChanges(page, () => page.goto(url, { waitUntil: 'commit' }));
    await page.waitForSelector('body');
    if (process.env.AUTHORIZATION) await page.waitForTimeout(6000);
    await page.screenshot({ path: join(dir, `${name}-${colorScheme}.png`) });
    console.log(`${name} ${colorScheme}: ${answer.status()} ${await page.title()}`);
    for (const sentence of await page.locator('#summary, #problems li').allTextContents()) console.log(sentence);
    await page.close();
  }
}
await browser.close();
