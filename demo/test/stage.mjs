// Owns what the tests of the page run on: a broker, the page served beside it, and Chromium.
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';
import { serve } from '../serve.mjs';

const CHROMIUM = process.env.CHROMIUM ?? ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find(existsSync);
const BROKER = process.env.BROKER_BINARY ?? fileURLToPath(new URL('../../target/debug/token-broker', import.meta.url));

/** Room for all tests, from one address; refreshes may follow each other quickly. */
const SETTINGS = ['limits.token=150/60s', 'limits.refresh=500/60s', 'session.min_refresh_interval=1s'];

async function startBroker(settings) {
  const child = spawn(BROKER, ['dev', '--listen', '127.0.0.1:0', ...settings.flatMap((setting) => ['--set', setting])], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { PATH: process.env.PATH },
    // Away from the settings of whoever works here.
    cwd: fileURLToPath(new URL('.', import.meta.url)),
  });
  let output = '';
  const url = await new Promise((resolve, reject) => {
    const read = (chunk) => {
      output += chunk;
      const found = /listens on (\S+)/.exec(output);
      if (found) resolve(found[1]);
    };
    child.stdout.on('data', read);
    child.stderr.on('data', read);
    child.once('error', (cause) => reject(new Error(`No broker at ${BROKER}: cargo build, or set BROKER_BINARY.`, { cause })));
    child.once('exit', () => reject(new Error(`The broker did not start:\n${output}`)));
  });
  return { url, stop: () => child.kill() };
}

/**
 * Where the page is: at DEMO_URL if that is set (`broker`: as the broker under test serves it), else served from here. `options` are those of `serve`, and more settings
 * of the broker.
 */
export async function raise({ settings = [], ...options } = {}) {
  if (!CHROMIUM) throw new Error('No Chromium: apt-get install chromium, or set CHROMIUM to the executable.');
  const given = process.env.DEMO_URL;
  const elsewhere = given && given !== 'broker';
  const broker = elsewhere ? null : await startBroker([...SETTINGS, ...settings]);
  const site = given ? null : await serve({ broker: broker.url, ...options });
  const browser = await chromium.launch({
    executablePath: CHROMIUM,
    chromiumSandbox: process.getuid?.() !== 0,
    // As a machine with a microphone; loopback, for one without a network.
    args: ['--use-fake-device-for-media-stream', '--allow-loopback-in-peer-connection', '--disable-features=WebRtcHideLocalIpsWithMdns'],
  });
  const url = elsewhere ? given : (site?.url ?? `${broker.url}/demo`);
  return {
    url,
    browser,
    /** One page at a time: others would take its processor. */
    async visit(look) {
      for (const context of browser.contexts()) await context.close();
      return visit(browser, url, look);
    },
    async strike() {
      await browser.close();
      site?.close();
      broker?.stop();
    },
  };
}

/** Opens the page and waits for its first secret. `page.complaints` are errors of the console and refusals by the policy. */
async function visit(browser, url, { hash = '', microphone = false, ...look } = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, ...look });
  if (microphone) await context.grantPermissions(['microphone'], { origin: new URL(url).origin });
  const page = await context.newPage();
  page.setDefaultTimeout(30_000);
  page.complaints = [];
  page.on('console', (message) => message.type() === 'error' && page.complaints.push(message.text()));
  page.on('pageerror', (error) => page.complaints.push(`${error}`));
  await page.addInitScript(() => {
    const tell = ({ violatedDirective, blockedURI }) => console.error(`refused by the policy: ${violatedDirective} ${blockedURI}`);
    addEventListener('securitypolicyviolation', tell);
  });
  await page.goto(url + hash);
  await page.waitForFunction(() => /^\d:\d\d$/.test(document.querySelector('#dial-time').textContent));
  return page;
}

/** The text of an element. */
export const read = (page, selector) => page.locator(selector).innerText();

/** Waits until the text of an element matches. */
export async function says(page, selector, pattern) {
  await page.waitForFunction(
    ([selector, source]) => new RegExp(source).test(document.querySelector(selector)?.innerText ?? ''),
    [selector, pattern.source],
  ).catch(async (cause) => {
    throw new Error(`${selector} does not say ${pattern}, but: ${await read(page, selector)}`, { cause });
  });
}

/** Connects, and waits until the other side speaks. */
export async function connect(page) {
  await page.click('#connect');
  await says(page, '#call-status', /^Connected/);
  await says(page, '#transcript', /Hello!/);
}
