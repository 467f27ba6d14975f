// Owns the tests of what the page shows when nothing is broken.
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

  test('it counts down, and nothing moves meanwhile', async () => {
    const page = await stage.visit();
    await page.evaluate(() => {
      window.moved = 0;
      new PerformanceObserver((list) => list.getEntries().forEach(({ value }) => (window.moved += value))).observe({ type: 'layout-shift' });
    });
    const first = seconds(await read(page, '#dial-time'));
    await page.waitForTimeout(3000);
    const later = seconds(await read(page, '#dial-time'));
    assert.ok(first - later >= 2 && first - later <= 4, `${first} to ${later}`);
    assert.equal(await page.evaluate(() => window.moved), 0);
  });

  test('it shows what Server-Timing and the window told', async () => {
    const page = await stage.visit();
    await says(page, '#falls', /upstream\s+[\d.]+ ms/);
    await says(page, '#limits', /New sessions\s+\d+ of \d+ left/);
  });

  test('the event log folds repeats, filters, opens, and waits while it is paused', async () => {
    const page = await stage.visit();
    await connect(page);
    await says(page, '#log', /transcript\.delta\s+×\d+/);
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

  test('the address can ask for faults', async () => {
    const page = await stage.visit({ hash: '#chaos=ttl' });
    await says(page, '#dial-note', /of 0:20/);
  });

  test('the view of the code shows three ways, and the address remembers view and theme', async () => {
    const page = await stage.visit({ hash: '#view=code&theme=dark' });
    assert.match(await read(page, '#code'), /createRealtimeConnection[^]*useRealtimeConnection[^]*RealtimeSession/);
    assert.doesNotMatch(await read(page, '#code'), /Owns the/);
    assert.equal(await page.evaluate(() => getComputedStyle(document.body).colorScheme), 'dark');
    await page.click('#tab-try');
    assert.equal(new URL(page.url()).hash, '#theme=dark');
  });
});
