// Starts what the tests of the page need: brokers, the page beside them or served by them, and one Chromium for all tests.
import { spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';
import { serve } from '../serve.mjs';

const CHROMIUM = process.env.CHROMIUM ?? ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find(existsSync);
const BROKER = process.env.BROKER_BINARY ?? fileURLToPath(new URL('../../target/debug/token-broker', import.meta.url));
/** `broker`: the page as the broker under test serves it; an address: the page there; nothing: the files here. */
const GIVEN = process.env.DEMO_URL;
const IS_ELSEWHERE = Boolean(GIVEN) && GIVEN !== 'broker';

/** Skips tests that use up limits when the broker is not theirs. */
export const ownBroker = { skip: IS_ELSEWHERE && 'the page of a broker that others may use' };

/** Limits wide enough for all tests from one address, and refreshes without a minimum interval. */
const SETTINGS = ['limits.token=150/60s', 'limits.refresh=500/60s', 'session.min_refresh_interval=0s'];

/** Starts a command of the broker and waits until it listens. */
async function run(command, settings, { port = 0, ...environment } = {}) {
  const flags = ['--listen', `127.0.0.1:${port}`, ...settings.flatMap((setting) => ['--set', setting])];
  const child = spawn(BROKER, [command, ...flags], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { PATH: process.env.PATH, ...environment },
    // A directory without a settings file of a developer.
    cwd: fileURLToPath(new URL('.', import.meta.url)),
  });
  let output = '';
  const url = await new Promise((resolve, reject) => {
    const read = (chunk) => {
      output += chunk;
      const found = /listens on (\S+)|"listen":"([^"]+)"|(http:\S+\/v1)/.exec(output);
      if (found) resolve(found.slice(1).find(Boolean));
    };
    child.stdout.on('data', read);
    child.stderr.on('data', read);
    child.once('error', (cause) => reject(new Error(`No broker at ${BROKER}: cargo build, or set BROKER_BINARY.`, { cause })));
    child.once('exit', () => reject(new Error(`It did not start: ${command}\n${output}`)));
  });
  return { url, stop: () => child.kill() };
}

/** A port that was free just now. */
export async function freePort() {
  const server = createServer();
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}

const dev = (settings) => run('dev', [...SETTINGS, ...settings]);

/** Starts the broker as an operator would: with an API key, allowed origins, and an upstream not known to be simulated. */
async function live(settings, sitePort) {
  const upstream = await run('simulate', []);
  const port = await freePort();
  const ALLOWED_ORIGINS = [port, sitePort].map((port) => `http://127.0.0.1:${port}`).join();
  const environment = { port, OPENAI_API_KEY: 'sk-simulated', OPENAI_BASE_URL: upstream.url, ALLOWED_ORIGINS };
  const broker = await run('serve', ['demo.enabled=true', 'ledger.url=memory', ...settings], environment);
  const stop = () => [broker, upstream].forEach((one) => one.stop());
  return { url: broker.url, stop };
}

let browser;
let raised = 0;
let idle;
async function share() {
  clearTimeout(idle);
  if (!CHROMIUM) throw new Error('No Chromium: apt-get install chromium, or set CHROMIUM to the executable.');
  browser ??= await chromium.launch({
    executablePath: CHROMIUM,
    chromiumSandbox: process.getuid?.() !== 0,
    // Fake microphones. Peers may use loopback, for machines without a network.
    args: ['--use-fake-device-for-media-stream', '--allow-loopback-in-peer-connection', '--disable-features=WebRtcHideLocalIpsWithMdns'],
  });
}

/** Keeps the browser for the next stage for a second. */
async function leave() {
  await Promise.all(browser.contexts().map((context) => context.close()));
  if (--raised) return;
  idle = setTimeout(() => {
    void browser.close();
    browser = undefined;
  }, 1000);
}

/** Fails when the broker was built with another version of the page. */
async function isThis(url, strike) {
  for (const name of ['app.js', 'style.css']) {
    const served = await (await fetch(`${url}/${name}`)).text();
    if (served === readFileSync(new URL(`../built/${name}`, import.meta.url), 'utf8')) continue;
    await strike();
    throw new Error(`${BROKER} has another page inside: cargo build.`);
  }
}

/** Starts a broker and its page. `settings` are added; `isLive` starts `serve` in place of `dev`. */
export async function raise({ settings = [], isLive = false } = {}) {
  await share();
  raised++;
  const port = await freePort();
  let broker, site;
  const strike = async () => {
    await leave();
    site?.close();
    broker?.stop();
  };
  broker = IS_ELSEWHERE ? null : await (isLive ? live : dev)(settings, port);
  site = GIVEN ? null : await serve({ broker: broker.url, port });
  const url = IS_ELSEWHERE ? GIVEN : (site?.url ?? `${broker.url}/demo`);
  if (!IS_ELSEWHERE) await isThis(url, strike);
  return {
    url,
    /** Opens the page, one at a time: a second one would take its processor time. */
    async visit(look) {
      await Promise.all(browser.contexts().map((context) => context.close()));
      return visit(url, look);
    },
    strike,
  };
}

/**
 * Opens the page and waits for its first key, unless `isIdle`. `page.complaints` collects errors of the console and violations of
 * the policy. `before` runs in the page before its own script.
 */
async function visit(url, { hash = '', microphone = false, isIdle = false, before, ...look } = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, ...look });
  const page = await context.newPage();
  page.allowMicrophone = () => context.grantPermissions(['microphone'], { origin: new URL(url).origin });
  if (microphone) await page.allowMicrophone();
  page.setDefaultTimeout(30_000);
  page.complaints = [];
  page.on('console', (message) => message.type() === 'error' && page.complaints.push(message.text()));
  page.on('pageerror', (error) => page.complaints.push(`${error}`));
  await page.addInitScript(() => {
    const tell = ({ violatedDirective, blockedURI }) => console.error(`refused by the policy: ${violatedDirective} ${blockedURI}`);
    addEventListener('securitypolicyviolation', tell);
  });
  if (before) await page.addInitScript(before);
  await page.goto(url + hash);
  if (!isIdle) await page.waitForFunction(() => /^\d:\d\d$/.test(document.querySelector('#dial-time').textContent));
  return page;
}

/** Returns the text of an element. */
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

/** Connects through the broker. */
export async function callThroughBroker(page) {
  await page.click('#way');
  await page.waitForSelector('#way[aria-pressed=true]');
  await page.click('#connect');
  await says(page, '#call-status', /^Connected/);
}

/** Connects and waits until the other side speaks. */
export async function connect(page) {
  await page.click('#connect');
  await says(page, '#call-status', /^Connected/);
  await says(page, '#transcript', /Hello!/);
}
