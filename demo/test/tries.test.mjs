// Tests what a page may try in a call through the broker, and what becomes of it.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { callThroughBroker, raise, read, says } from './stage.mjs';

const press = (page, name) => page.click(`#tries [name="${name}"]`);
const names = (page) => page.evaluate(() => [...document.querySelectorAll('#tries button')].map(({ name }) => name));
const OF_PAGES = ['rewrite', 'idle', 'talk-on', 'lid'];

describe('what a page may try in a call through the broker', () => {
  let stage;
  before(async () => {
    stage = await raise({ settings: ['call.warn_before=20s'] });
  });
  after(() => stage?.strike());

  /** Opens the page, and a call. */
  const caller = async () => {
    const page = await stage.visit({ microphone: true });
    await callThroughBroker(page);
    await says(page, '#leash-left', /^[01]:\d\d$/);
    return page;
  };
  const ended = async (page, why) => {
    await says(page, '#transcript', new RegExp(`The call has ended: ${why}\\.`));
    await says(page, '#call-status', /^Not connected/);
    await page.waitForFunction(() => [...document.querySelectorAll('#tries button')].every((each) => each.ariaDisabled === 'true'));
    assert.deepEqual(page.complaints, []);
  };

  test('the buttons wait for a call, and are there for calls through the broker only', async () => {
    const page = await stage.visit();
    assert.equal(await page.isVisible('#tries'), false);
    await page.click('#way');
    assert.deepEqual(await names(page), ['rewrite', 'idle', 'operator', 'talk-on', 'lid', 'cut']);
    assert.equal(await page.locator('#tries button[aria-disabled=true]').count(), 6);
    await page.click('#way');
    assert.equal(await page.isVisible('#tries'), false);
  });

  test('a persona that the page rewrites is put back, and the fourth time the call ends', async () => {
    const page = await caller();
    for (let nth = 1; nth <= 3; nth++) {
      await press(page, 'rewrite');
      await page.waitForFunction((nth) => document.getElementById('transcript').innerText.match(/put the persona back after [\d.]+ m?s/g)?.length === nth, nth);
    }
    await says(page, '#transcript', /You are a pirate/);
    await press(page, 'rewrite');
    await ended(page, 'the page kept changing the persona');
  });

  test('a page that talks on pays for it, is warned, hears the goodbye, and is hung up on within a minute', async () => {
    const page = await caller();
    await press(page, 'talk-on');
    assert.equal(await page.getAttribute('#tries [name=talk-on]', 'aria-pressed'), 'true');
    await page.waitForFunction(() => Number.parseInt(document.getElementById('leash-note').textContent) >= 3);
    const price = async () => Number((await read(page, '#leash-cost')).slice(1));
    const before = await price();
    await page.waitForFunction((before) => Number(document.getElementById('leash-cost').textContent.slice(1)) > before, before);
    page.setDefaultTimeout(90_000);
    await says(page, '#transcript', /The broker ends this call in \d+ s\./);
    await says(page, '#transcript', /Say goodbye/);
    await ended(page, 'its time was over');
    assert.equal(await page.getAttribute('#tries [name=talk-on]', 'aria-pressed'), 'false');
  });

  test('a page that goes idle is hung up on', async () => {
    const page = await caller();
    await press(page, 'idle');
    await says(page, '#mute', /^Muted$/);
    await ended(page, 'nobody spoke for a while');
  });

  test('a laptop that is closed leaves no call behind, though nobody hung up', async () => {
    const page = await caller();
    let hangUps = 0;
    page.on('request', (request) => (hangUps += request.url().endsWith('/hangup')));
    await press(page, 'lid');
    await ended(page, 'the other side hung up');
    assert.equal(hangUps, 0);
    await page.click('#connect');
    await says(page, '#call-status', /^Connected/);
  });

  test('an operator hangs up', async () => {
    const page = await caller();
    await press(page, 'operator');
    await ended(page, 'an operator hung up');
  });

  test('a side channel that is cut is joined again, and the call is counted as before', async () => {
    const page = await caller();
    await press(page, 'cut');
    await says(page, '#transcript', /The broker watches the call again after [\d.]+ m?s\./);
    const turns = () => page.evaluate(() => Number.parseInt(document.getElementById('leash-note').textContent));
    const before = await turns();
    await page.fill('#words', 'Are you there?');
    await page.click('#send');
    await page.waitForFunction((before) => Number.parseInt(document.getElementById('leash-note').textContent) > before, before);
    await press(page, 'operator');
    await ended(page, 'an operator hung up');
  });
});

test('where all calls go through the broker, the page of dev does so by itself', async () => {
  const stage = await raise({ settings: ['connect.mode=call'] });
  try {
    const page = await stage.visit({ microphone: true, isIdle: true });
    await page.waitForSelector('#way[aria-pressed=true]');
    await says(page, '#dial-note', /^one ticket per call$/);
    await page.click('#connect');
    await says(page, '#call-status', /^Connected/);
    await says(page, '#leash-left', /^[01]:\d\d$/);
    await press(page, 'operator');
    await says(page, '#transcript', /The call has ended: an operator hung up\./);
    assert.deepEqual(page.complaints, []);
  } finally {
    await stage.strike();
  }
});

test('serve has the tries of the page, and neither the operator nor the provider', async () => {
  const stage = await raise({ isLive: true, settings: ['connect.mode=call'] });
  try {
    const page = await stage.visit({ microphone: true, isIdle: true });
    await page.click('#secret-refresh');
    await page.waitForSelector('#tries', { state: 'visible' });
    assert.deepEqual(await names(page), OF_PAGES);
    await page.click('#connect');
    await says(page, '#call-status', /^Connected/);
    await press(page, 'rewrite');
    await says(page, '#transcript', /put the persona back after/);
    for (const what of ['hangup', 'cut']) {
      const status = await page.evaluate((what) => fetch(`demo/calls/rtc_1/${what}`, { method: 'POST' }).then(({ status }) => status), what);
      assert.equal(status, 404, what);
    }
  } finally {
    await stage.strike();
  }
});
