// launch starts Debian's Chromium, or the one that CHROMIUM names, with more arguments.
import { chromium } from 'playwright-core';

export const launch = (...args) => chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  args: ['--no-sandbox', '--disable-gpu', '--disable-auto-reload', '--disable-background-networking', '--disable-component-update', '--disable-sync', ...args],
});
