// Tests each fault: what the client does about it, as the page tells it.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { connect, raise, read, says } from './stage.mjs';

describe('what is broken', () => {
  let stage;
  before(async () => {
    stage = await raise();
  });
  after(() => stage?.strike());

  const secret = (page) => read(page, '#facts div:first-child dd');
  const steps = async (page) => (await page.locator('#outcome li').allInnerTexts()).slice(1);
  const fault = (page, label) => page.click(`#chaos button:text-is("${label}")`);

  test('offline, the client keeps the current key, and refreshes when the network is back', async () => {
    const page = await stage.visit();
    const before = await secret(page);
    await fault(page, 'Offline');
    await says(page, '#outcome', /keeps the current key/);
    assert.equal(await secret(page), before);
    const broken = () => page.locator('#chaos [aria-disabled=true]').allInnerTexts();
    assert.deepEqual(await broken(), ['Too many requests', 'Server errors', 'Login expired', 'Call drops'], 'what cannot be broken now');
    await fault(page, 'Offline');
    assert.deepEqual(await broken(), ['Call drops']);
    await page.click('#secret-refresh');
    await says(page, '#outcome', /new key, no gap/);
  });

  test('a 429 is waited out for as long as it says', async () => {
    const page = await stage.visit();
    await fault(page, 'Too many requests');
    await says(page, '#outcome', /new key, no gap/);
    assert.deepEqual(await steps(page), ['429 /refresh-token', 'waits 3.0 s, as the broker asked', '200 /refresh-token', 'new key, no gap']);
  });

  test('two answers of 500 are tried again, each after a pause of its own', async () => {
    const page = await stage.visit();
    await fault(page, 'Server errors');
    await says(page, '#outcome', /new key, no gap/);
    const told = await steps(page);
    assert.equal(told.filter((step) => step === '500 /refresh-token').length, 2);
    assert.equal(told.filter((step) => step.startsWith('waits')).length, 2);
  });

  test('a refresh refused with 401 opens a new session', async () => {
    const page = await stage.visit();
    await fault(page, 'Login expired');
    await says(page, '#outcome', /new key, no gap/);
    assert.deepEqual(await steps(page), ['401 /refresh-token', '200 /token', 'new key, no gap']);
  });

  test('N21 a clock that is set an hour ahead, and back, costs an early refresh at most', async () => {
    const page = await stage.visit();
    const before = await secret(page);
    await fault(page, 'Fast clock');
    await says(page, '#outcome', /new key/);
    const after = await secret(page);
    assert.notEqual(after, before);
    await fault(page, 'Fast clock');
    await page.waitForTimeout(500);
    assert.equal(await secret(page), after);
    assert.match(await read(page, '#dial-time'), /^0:[2-5]\d$/);
    await says(page, '#facts', /Next\s+refresh in [123]?\d s$/);
  });

  test('with a life of 20 s it refreshes by itself, before the end', async () => {
    const page = await stage.visit();
    await fault(page, '20 s keys');
    await says(page, '#dial-note', /of 0:20/);
    const crossed = await page.evaluate(() => {
      const boxes = (selector) => [...document.querySelectorAll(`#lives ${selector}`)].map((one) => one.getBoundingClientRect());
      const marks = boxes('.life-refresh');
      const over = boxes('.life-text').filter((name) => marks.some((mark) => mark.right > name.left && mark.left < name.right && mark.top < name.bottom && mark.bottom > name.top));
      return [marks.length, over.length];
    });
    assert.deepEqual(crossed, [1, 0], 'no mark goes through a name');
    const first = await secret(page);
    await page.waitForFunction((first) => document.querySelector('#facts dd').textContent !== first, first);
    await says(page, '#facts', /on schedule/);
    await says(page, '#dial-time', /^0:(1\d|20)$/);
  });

  test('after ten minutes of sleep the client notices that the key is dead, and gets another', async () => {
    const page = await stage.visit();
    await fault(page, 'Sleep');
    await says(page, '#outcome', /expired (9|10) min ago[^]*new key/);
    await says(page, '#phase', /Valid/);
  });

  test('a call that is dropped is made again, with a word about what is lost', async () => {
    const page = await stage.visit();
    await connect(page);
    await fault(page, 'Call drops');
    await says(page, '#transcript', /The new call knows nothing of what was said\./);
    await says(page, '#outcome', /call connecting[^]*call connected/);
    await says(page, '#call-status', /^Connected/);
  });

  test('a call survives every fault of the key', async () => {
    const page = await stage.visit();
    await connect(page);
    for (const label of ['Login expired', 'Server errors', 'Sleep']) {
      await fault(page, label);
      await says(page, '#outcome', /new key/);
      assert.equal(await read(page, '#call-status'), 'Connected');
    }
  });
});
