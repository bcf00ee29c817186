import { createRequire } from 'node:module';

const script = createRequire(import.meta.url).resolve('axe-core/axe.min.js');

// violations returns what axe finds on a page, whose context has to bypass the policy of the page: it forbids axe's script.
export async function violations(page, name) {
  await page.addScriptTag({ path: script });
  const found = await page.evaluate(() => axe.run());
  return found.violations.map((v) => `${name}: ${v.id}: ${v.nodes[0].html.slice(0, 200)}`);
}
