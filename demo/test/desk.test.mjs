// Tests of the dashboard for operators: on a desktop, on a phone and on paper, with the keyboard, without scripts, and while a
// call runs.
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { after, before, describe, test } from 'node:test';
import { callThroughBroker, freePort, ownBroker, raise, read, says } from './stage.mjs';

const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const TOKEN = 'operators-token-that-is-long-enough';
const TABS = ['Today', 'Live calls', 'Usage', 'Users', 'Cost', 'Errors and limits', 'Latency', 'Security'];
const PATHS = ['/', '/pages/calls', '/pages/usage', '/pages/users', '/pages/cost', '/pages/errors', '/pages/latency', '/pages/security'];
const USER = '/pages/user?issuer=https%3A%2F%2Fexample.invalid%2F&subject=example-ana';
const DESKTOP = { viewport: { width: 1280, height: 880 } };
const PHONE = { viewport: { width: 390, height: 800 }, isMobile: true, hasTouch: true };
/** A4 on its side, less its margins. */
const PAPER = { viewport: { width: 1046, height: 700 } };
const MOST_BYTES = 150_000;

/** What has the focus, and whether that is seen. */
function focused() {
  const { activeElement } = document;
  const { outlineStyle } = getComputedStyle(activeElement);
  return { text: activeElement.textContent.trim(), id: activeElement.id, isSeen: outlineStyle !== 'none' && activeElement.checkVisibility() };
}

/** What axe finds. It is evaluated from outside, past the policy of the page. */
async function faults(desk) {
  await desk.evaluate(AXE);
  const { violations } = await desk.evaluate(() => globalThis.axe.run());
  return violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html.slice(0, 120)).join(' | ')}`);
}

/** The tables that are cut off at the right, to be scrolled. Calls have more columns than fit; their button stays in sight. */
function cut() {
  const tables = [...document.querySelectorAll('.scroll')].filter((box) => box.scrollWidth > box.clientWidth && !box.querySelector('.act'));
  return tables.map((box) => box.getAttribute('aria-labelledby'));
}

const isWide = (desk) => desk.evaluate((width) => document.documentElement.scrollWidth > width, desk.viewportSize().width);

describe('the dashboard', ownBroker, () => {
  let stage, home;
  before(async () => {
    const port = await freePort();
    home = `http://127.0.0.1:${port}`;
    stage = await raise({ settings: [`ops.token=${TOKEN}`, `ops.listen=127.0.0.1:${port}`] });
  });
  after(() => stage?.strike());

  /** Opens the demo page, and in a browser of its own the dashboard, signed in with the keyboard. */
  async function open(look = DESKTOP) {
    const demo = await stage.visit();
    const context = await demo.context().browser().newContext({ colorScheme: 'light', ...look });
    const desk = await context.newPage();
    const complaints = [];
    desk.on('pageerror', (error) => complaints.push(`${error}`));
    desk.on('console', (message) => message.type() === 'error' && complaints.push(message.text()));
    await desk.goto(`${home}/sign-in`);
    await desk.fill('#token', TOKEN);
    await desk.press('#token', 'Enter');
    await says(desk, 'h1', /^Today$/);
    return { demo, desk, complaints };
  }

  for (const [name, look] of [
    ['a desktop in the light', { ...DESKTOP, colorScheme: 'light' }],
    ['a desktop in the dark', { ...DESKTOP, colorScheme: 'dark' }],
    ['a phone in the light', { ...PHONE, colorScheme: 'light' }],
    ['a phone in the dark', { ...PHONE, colorScheme: 'dark' }],
  ]) {
    test(`every page is clean on ${name}`, async () => {
      const { demo, desk, complaints } = await open(look);
      await callThroughBroker(demo);
      for (const path of ['/sign-in', ...PATHS, USER]) {
        await desk.goto(home + path);
        assert.deepEqual(await faults(desk), [], path);
        assert.equal(await isWide(desk), false, `${path} scrolls sideways`);
        if (!look.isMobile) assert.deepEqual(await desk.evaluate(cut), [], `${path} has tables that are cut off`);
      }
      assert.deepEqual(complaints, []);
    });
  }

  test('the keyboard reaches the figures, every page and every choice, and shows where it is', async () => {
    const { desk } = await open();
    await desk.goto(`${home}/`);
    await desk.keyboard.press('Tab');
    assert.deepEqual(await desk.evaluate(focused), { text: 'Skip to the figures', id: '', isSeen: true });
    await desk.keyboard.press('Enter');
    assert.equal((await desk.evaluate(focused)).id, 'main');
    await desk.goto(`${home}/`);
    await desk.keyboard.press('Tab');
    for (const text of [...TABS, 'Sign out']) {
      await desk.keyboard.press('Tab');
      assert.deepEqual(await desk.evaluate(focused), { text, id: '', isSeen: true });
    }
    await desk.getByRole('link', { name: 'Usage', exact: true }).focus();
    await desk.keyboard.press('Enter');
    await says(desk, 'h1', /^Usage$/);
    await desk.getByRole('link', { name: '7 days', exact: true }).focus();
    await desk.keyboard.press('Enter');
    await desk.waitForURL(/days=7/);
    assert.equal(await read(desk, '.choices li:first-child [aria-current]'), '7 days');
  });

  test('a call is followed without a reload, and hung up with the keyboard', async () => {
    const { demo, desk, complaints } = await open();
    await callThroughBroker(demo);
    await desk.goto(`${home}/pages/calls`);
    await says(desk, 'tbody', /open/);
    await desk.evaluate(() => { globalThis.isSame = true; });
    const left = await desk.locator('tbody td').nth(4).innerText();
    await desk.waitForFunction((left) => document.querySelectorAll('tbody td')[4].innerText !== left, left);
    assert.ok(await desk.evaluate(() => globalThis.isSame), 'no reload');
    await desk.locator('tbody button').first().focus();
    await desk.keyboard.press('Enter');
    await says(desk, 'tbody', /operator/);
    await says(demo, '#transcript', /an operator hung up/);
    assert.deepEqual(complaints, []);
  });

  for (const [name, look] of [['a desktop', DESKTOP], ['a phone', PHONE]]) {
    test(`on ${name} the button that hangs up is seen beside a wide table, without moving it`, async () => {
      const { demo, desk } = await open(look);
      await callThroughBroker(demo);
      await desk.goto(`${home}/pages/calls`);
      await says(desk, 'tbody', /open/);
      await desk.evaluate(() => globalThis.scrollTo(0, document.body.scrollHeight));
      const button = desk.locator('tbody button').first();
      const whole = await button.evaluate(async (button) => {
        const { promise, resolve } = Promise.withResolvers();
        new IntersectionObserver(([seen]) => resolve(seen.intersectionRatio)).observe(button);
        return promise;
      });
      assert.equal(whole, 1);
    });
  }

  test('a list in which calls come and go all the time is read again after some seconds, and not at once', async () => {
    const { desk } = await open();
    let asked = 0, loads = 0;
    const other = 'retry: 300\ndata: {"rows":[["another call",[],false]]}\n\n';
    await desk.route('**/pages/calls/live*', (route) => {
      asked += 1;
      return route.fulfill({ contentType: 'text/event-stream', body: other });
    });
    await desk.goto(`${home}/pages/calls`);
    desk.on('load', () => { loads += 1; });
    while (asked < 3) await desk.waitForTimeout(100);
    assert.equal(loads, 0);
    await desk.waitForEvent('load');
  });

  test('pages are read without scripts', async () => {
    const { demo, desk } = await open();
    const [cookie] = (await desk.context().cookies(home)).filter(({ name }) => name === 'operator');
    assert.ok(cookie.httpOnly && cookie.sameSite === 'Strict');
    const plain = await demo.context().browser().newContext({ javaScriptEnabled: false });
    await plain.addCookies([cookie]);
    const page = await plain.newPage();
    for (const [path, heading] of [['/', 'Today'], ['/pages/calls', 'Live calls'], ['/pages/usage', 'Usage']]) {
      await page.goto(home + path);
      assert.equal(await read(page, 'h1'), heading);
    }
    assert.match(await read(page, 'section:first-of-type tbody'), /student/);
    await page.getByRole('button', { name: 'Sign out' }).click();
    assert.match(page.url(), /\/sign-in$/);
    await page.goto(`${home}/`);
    assert.equal(await page.locator('#token').count(), 1, 'signed out');
    await plain.close();
  });

  test('paper shows the figures, whole and dark on light, and no buttons', async () => {
    const { desk } = await open({ ...PAPER, colorScheme: 'dark' });
    await desk.emulateMedia({ media: 'print' });
    for (const path of [...PATHS, USER]) {
      await desk.goto(home + path);
      for (const part of ['nav', '.skip', '.choices', '.files', 'button']) {
        const found = desk.locator(part);
        if (await found.count()) assert.equal(await found.first().isVisible(), false, `${path} ${part}`);
      }
      assert.equal(await desk.locator('.cards, section').first().isVisible(), true, path);
      assert.equal(await isWide(desk), false, `${path} is wider than the paper`);
      const ink = await desk.evaluate(() => getComputedStyle(document.body).color);
      assert.equal(ink, 'rgb(29, 31, 28)', path);
    }
  });

  test('pages elsewhere cannot hang up, even in the browser of an operator', async () => {
    const { demo, desk } = await open();
    await callThroughBroker(demo);
    const form = `<form method="post" action="${home}/pages/calls/hangup"><input name="all" value="yes"></form>`;
    await desk.route('**/evil', (route) => route.fulfill({ contentType: 'text/html', body: form }));
    // The second one is of the same site, so that the browser sends it the cookie.
    for (const evil of [home.replace('127.0.0.1', 'localhost'), 'http://127.0.0.1:8123']) {
      await desk.goto(`${evil}/evil`);
      const answer = desk.waitForResponse((response) => response.url().endsWith('/hangup'));
      const arrival = desk.waitForURL(/hangup$/);
      await desk.evaluate(() => document.forms[0].submit());
      assert.equal((await answer).status(), 403, evil);
      await arrival;
    }
    await desk.goto(`${home}/pages/calls`);
    await says(desk, 'tbody', /open/);
  });

  test('the first page is a picture for the README', async () => {
    const { desk } = await open();
    await desk.goto(`${home}/`);
    const picture = await desk.screenshot();
    assert.ok(picture.length < MOST_BYTES, `${picture.length} bytes`);
    if (process.env.DEMO_PICTURE) writeFileSync(new URL('../../docs/dashboard.png', import.meta.url), picture);
  });
});
