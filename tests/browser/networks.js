// Chromium ends connections that are being made when the machine's networks change (ERR_NETWORK_CHANGED), as they do whenever a
// container starts. On a busy machine that hits a page once in a while, and says nothing about the edge.
//
// despiteNetworkChanges calls use, and again if it failed and one of the page's requests or WebSockets ended with that error, or if another
// navigation came in between (Chromium shows the error); up to five times, a second apart.
export async function despiteNetworkChanges(page, use) {
  let changed = false;
  const note = (error) => { changed ||= /ERR_NETWORK_CHANGED/.test(error); };
  page.on('requestfailed', (request) => note(request.failure()?.errorText));
  page.on('websocket', (socket) => socket.on('socketerror', note));
  for (let left = 4; ; left--) {
    changed = false;
    try {
      return await use();
    } catch (error) {
      if (left === 0 || !changed && !String(error).includes('is interrupted by another navigation')) throw error;
      await page.waitForTimeout(1000);
      console.error('networks have changed, again:', String(error).split('\n')[0]);
    }
  }
}
