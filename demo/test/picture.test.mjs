// Takes a screenshot of the page for the README. DEMO_PICTURE saves it as docs/demo.png.
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { callThroughBroker, connect, raise, says } from './stage.mjs';

const MOST_BYTES = 250_000;

test('the page in the middle of its work is a picture for the README', async () => {
  const stage = await raise({ settings: ['limits.token=10/60s', 'limits.refresh=30/60s'] });
  try {
    const page = await stage.visit({ colorScheme: 'light' });
    await page.waitForTimeout(3000);
    await page.click('#chaos [name="401"]');
    await connect(page);
    await says(page, '#transcript', /meaning is for real models|typed text only/);
    await page.waitForFunction(() => document.getElementById('log').textContent.match(/response\._?done/g)?.length >= 2);
    await page.fill('#words', 'What is the key for?');
    await page.press('#words', 'Enter');
    await says(page, '#transcript', /A key opens/);
    await page.click('#chaos [name="500"]');
    await says(page, '#outcome', /new key/);
    await says(page, '#transcript', /A running call/);
    await page.click('#connect');
    await says(page, '#call-status', /^Not connected/);
    await callThroughBroker(page);
    await page.fill('#words', 'How long may I talk?');
    await page.press('#words', 'Enter');
    await says(page, '#transcript', /A simulated answer/);
    await page.click('#tries [name=rewrite]');
    await says(page, '#transcript', /put the persona back/);
    await page.fill('#words', 'And what does it cost?');
    await page.press('#words', 'Enter');
    await says(page, '#leash-note', /^[2-9]/);
    await page.waitForFunction(() => document.getElementById('leash-left').textContent <= '0:48');
    await page.mouse.move(640, 790);
    const picture = await page.screenshot();
    assert.ok(picture.length < MOST_BYTES, `${picture.length} bytes`);
    if (process.env.DEMO_PICTURE) writeFileSync(new URL('../../docs/demo.png', import.meta.url), picture);
  } finally {
    await stage.strike();
  }
});
