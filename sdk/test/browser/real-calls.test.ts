// Tests calls with limits in Chromium against the real broker, whose simulated OpenAI is a WebRTC peer.
import assert from 'node:assert/strict';
import { after, afterEach, before, test } from 'node:test';
import type { Page } from 'playwright-core';
import { connect, Stage, state, told } from './stage.js';

let stage: Stage;
before(async () => {
  stage = await Stage.set('connect.mode=call', 'call.max_duration=20s', 'call.warn_before=10s');
});
after(() => stage?.strike());
afterEach(() => stage.clear());

/** A page with a connection that tells what it hears. Nothing of it asks for a call with limits. */
async function caller(): Promise<Page> {
  const page = await stage.page();
  await page.evaluate(() => window.lab.follow(window.tokens, 'status', 'secondsLeft', 'warning', 'ended'));
  return page;
}

test('a page speaks with the model, sees the time run, is warned, and its call ends at the limit', async () => {
  const page = await caller();
  assert.equal(await connect(page), 'connected');
  await told(page, 'session.created');
  const peak = await page.evaluate(async () => {
    const meter = window.lab.createLevelMeter(window.connection.getSnapshot().session?.remote as MediaStream);
    window.connection.send({ type: 'response.create' });
    let peak = 0;
    for (let n = 0; n < 300 && peak < 0.01; n++) {
      await new Promise((resolve) => setTimeout(resolve, 30));
      peak = Math.max(peak, meter.read());
    }
    meter.close();
    return peak;
  });
  assert.ok(peak >= 0.01, `${peak}`);
  await told(page, 'response.done');
  await told(page, /^warning {"secondsLeft":(10|9)}/);
  await told(page, /^ended {"reason":"time_limit"/);
  await told(page, 'status "disconnected"');
  assert.equal(await state(page), 'disconnected ended The call has ended: time_limit.');
  const { counted, call, keys } = await page.evaluate(() => ({
    counted: window.told.filter((each) => each.startsWith('secondsLeft')).length,
    call: window.connection.getSnapshot().call?.getSnapshot(),
    keys: window.told.filter((each) => each === 'tokenRefreshed').length,
  }));
  assert.ok(counted >= 10, `${counted}`);
  assert.ok(Number(call?.turns) >= 1 && Number(call?.cost) > 0, JSON.stringify(call));
  assert.equal(keys, 1, 'no ticket is fetched for a call that was ended');
});

test('a page hangs up, and calls again at once with another ticket', async () => {
  const page = await caller();
  assert.equal(await connect(page), 'connected');
  await page.evaluate(() => window.connection.getSnapshot().call?.hangUp());
  await told(page, /^ended {"reason":"hung_up"/);
  assert.equal(await state(page), 'disconnected');
  assert.equal(await connect(page), 'connected');
  await page.evaluate(() => window.connection.disconnect());
});
