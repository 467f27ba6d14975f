// Tests what the page shows while nothing is broken.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { connect, raise, read, says } from './stage.mjs';

describe('what it shows', () => {
  let stage;
  before(async () => {
    stage = await raise();
  });
  after(() => stage?.strike());

  const seconds = (text) => Number(text.split(':')[0]) * 60 + Number(text.split(':')[1]);

  test('it opens without a complaint, holds a secret and shows no more of it than its tail', async () => {
    const page = await stage.visit();
    assert.match(await read(page, '#facts'), /ek_…\S{4}/);
    const told = await page.evaluate(() => document.documentElement.outerHTML);
    assert.doesNotMatch(told, /ek_\w{8}/);
    await says(page, '#health', /Broker healthy · simulated OpenAI/);
    assert.deepEqual(page.complaints, []);
  });

  const SCREENS = { 'a desk': { width: 1280, height: 800 }, 'a small window': { width: 1024, height: 768 }, 'a phone': { width: 375, height: 667 }, 'a phone on its side': { width: 667, height: 375 } };
  for (const [name, viewport] of Object.entries(SCREENS)) test(`on ${name} it counts down, and nothing moves from the first paint on`, async () => {
    const isMobile = name.includes('phone');
    const before = () => {
      window.moved = 0;
      const add = (list) => list.getEntries().forEach(({ value }) => (window.moved += value));
      new PerformanceObserver(add).observe({ type: 'layout-shift', buffered: true });
    };
    const page = await stage.visit({ viewport, isMobile, hasTouch: isMobile, before });
    const first = seconds(await read(page, '#dial-time'));
    await page.waitForTimeout(3000);
    const later = seconds(await read(page, '#dial-time'));
    assert.ok(first - later >= 2 && first - later <= 4, `${first} to ${later}`);
    // A word that grows in its place is less than this; a card that jumps is a hundred times as much.
    const moved = await page.evaluate(() => window.moved);
    assert.ok(moved < 0.005, `${moved}`);
  });

  test('it shows what Server-Timing and the window told', async () => {
    const page = await stage.visit();
    await says(page, '#falls', /upstream\s+[\d.]+ ms/);
    await says(page, '#limits', /Sessions\s+\d+ of \d+ left/);
  });

  test('card and log call things by the same words, none of them internal', async () => {
    const page = await stage.visit();
    assert.match(await read(page, '#facts'), /Model\s+gpt-[\w.-]+\s+Voice\s+\w+\s+Reason\s+first key/);
    await page.click('#secret-refresh');
    await says(page, '#facts', /Reason\s+on request/);
    await page.click('#chaos [name=sleep]');
    await says(page, '#log', /first key[^]*on request[^]*expired: no refresh while paused/);
    assert.doesNotMatch(await page.locator('#log .text').allInnerTexts().then((all) => all.join('\n')), /\b(initial|forced|invalidated|expired: paused)\b/);
  });

  test('the event log folds repeats, filters, opens, and waits while it is paused', async () => {
    const page = await stage.visit();
    await connect(page);
    await says(page, '#log-count', /^\d+ events, [1-9]\d* hidden$/);
    assert.doesNotMatch(await read(page, '#log'), /session\.created/, 'the events of the model are hidden at first');
    const fill = (name) => page.locator('#filters button', { hasText: name }).evaluate((chip) => getComputedStyle(chip).backgroundColor);
    assert.notEqual(await fill('Call'), await fill('Model'), 'a filter that is on looks on');
    await page.click('#filters >> text=Model');
    await says(page, '#log', /session\.created[^]*transcript\.delta\s+×\d+/);
    await says(page, '#log-count', /^\d+ events$/);
    await page.click('#filters >> text=Model');
    assert.doesNotMatch(await read(page, '#log'), /session\.created/);
    await page.click('#log summary >> nth=0');
    await says(page, '#log', /"path": "\/token"/);
    await page.click('#log-pause');
    await page.click('#secret-refresh');
    await says(page, '#log-count', /paused, [1-9]/);
    await page.click('#log-pause');
    await says(page, '#log', /200 \/refresh-token/);
  });

  test('it says in one sentence what it is, and in which order to try it', async () => {
    const page = await stage.visit();
    assert.match(await read(page, '.intro p'), /short-lived keys/);
    assert.deepEqual(await page.locator('.intro li').allInnerTexts(), ['Get a key', 'Talk', 'Break something']);
    const numbered = await page.locator('h2:has(.step)').evaluateAll((all) => all.map((heading) => heading.innerText.replace(/\s+/g, ' ')));
    assert.deepEqual(numbered, ['1 Key', '2 Talk', '3 Break something']);
  });

  test('a copy without permission for the clipboard selects the text instead', async () => {
    const page = await stage.visit({ hash: '#view=code', before: () => Object.defineProperty(navigator, 'clipboard', { value: { writeText: () => Promise.reject(new Error('denied')) } }) });
    await page.click('#code button >> nth=0');
    await says(page, '#code button', /^Press Ctrl\+C$/);
    assert.match(await page.evaluate(() => `${getSelection()}`), /createRealtimeConnection/);
    assert.deepEqual(page.complaints, []);
  });

  test('the address can ask for faults', async () => {
    const page = await stage.visit({ hash: '#chaos=ttl' });
    await says(page, '#dial-note', /of 0:20/);
  });

  test('the view of the code shows three ways, and the address remembers view and theme', async () => {
    const page = await stage.visit({ hash: '#view=code&theme=dark' });
    assert.match(await read(page, '#code'), /createRealtimeConnection[^]*useRealtimeConnection[^]*RealtimeSession/);
    assert.doesNotMatch(await read(page, '#code'), /The sample/);
    assert.equal(await page.evaluate(() => getComputedStyle(document.body).colorScheme), 'dark');
    await page.click('#tab-try');
    assert.equal(new URL(page.url()).hash, '#theme=dark');
  });
});
