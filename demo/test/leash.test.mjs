// Tests calls that go through the broker to the peer of its simulated OpenAI: time, price, end, and a peer out of reach.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { callThroughBroker, raise, read, says } from './stage.mjs';

describe('a call through the broker', () => {
  let stage;
  before(async () => {
    stage = await raise({ settings: ['call.max_duration=30s', 'call.warn_before=20s'] });
  });
  after(() => stage?.strike());

  test('it is heard, counts down, costs money, warns, says goodbye, and is hung up at its limit with the reason', async () => {
    const page = await stage.visit({ microphone: true });
    await callThroughBroker(page);
    await says(page, '#leash-left', /^0:[0-3]\d$/);
    await says(page, '#leash-cost', /^\$0\.\d{4}$/);
    await page.click('#mute');
    await page.fill('#words', 'Hello');
    await page.click('#send');
    await says(page, '#transcript', /A simulated answer\./);
    await page.waitForFunction(() => Number(document.getElementById('level-model').dataset.peak) > 0.05);
    await says(page, '#leash-cost', /\$0\.00(0[1-9]|[1-9]\d)/);
    await says(page, '#leash-note', /^[1-9]\d* answers?$/);
    const ring = () => page.evaluate(() => Number(document.querySelector('#leash-ring .left').getAttribute('stroke-dashoffset')));
    const before = await ring();
    // Who is silent is hung up on for that.
    await page.click('#tries [name=talk-on]');
    await page.waitForSelector('#leash[data-warns]');
    assert.ok((await ring()) > before, 'the ring shrinks');
    await says(page, '#transcript', /The broker ends this call in \d+ s\./);
    await says(page, '#transcript', /The time of this conversation is over\. Say goodbye/);
    await says(page, '#transcript', /The call has ended: its time was over\. It cost \$0\.\d{4}\./);
    await says(page, '#call-status', /^Not connected/);
    assert.equal(await page.isVisible('#leash'), false);
    assert.doesNotMatch(await read(page, '#transcript'), /connection broke/);
    assert.deepEqual(page.complaints, []);
  });

  test('who disconnects has hung up at the broker', async () => {
    const page = await stage.visit({ microphone: true });
    await callThroughBroker(page);
    await says(page, '#leash-left', /^0:/);
    await page.click('#connect');
    await says(page, '#transcript', /The call has ended: this page hung up\./);
    await says(page, '#call-status', /^Not connected/);
    assert.deepEqual(page.complaints, []);
  });

  test('by the relay the same is said and counted, and who disconnects has hung up', async () => {
    const page = await stage.visit({ microphone: true });
    await page.click('#relay');
    await page.waitForSelector('#relay[aria-pressed=true]');
    assert.equal(await page.getAttribute('#way', 'aria-pressed'), 'false');
    await page.click('#connect');
    await says(page, '#call-status', /^Connected/);
    await says(page, '#leash-left', /^0:/);
    await page.click('#mute');
    await page.fill('#words', 'Hello');
    await page.click('#send');
    await says(page, '#transcript', /A simulated answer\./);
    await says(page, '#leash-cost', /\$0\.00(0[1-9]|[1-9]\d)/);
    assert.equal(await page.getAttribute('#tries [name=cut]', 'aria-disabled'), 'true');
    await page.click('#connect');
    await says(page, '#transcript', /The call has ended: this page hung up\./);
    await says(page, '#call-status', /^Not connected/);
    assert.deepEqual(page.complaints, []);
  });

  for (const mode of ['direct', 'call']) test(`a peer that cannot be reached gives way to the local stand-in after three seconds, in ${mode} mode`, async () => {
    const stage = await raise({ settings: [`connect.mode=${mode}`] });
    try {
      const page = await stage.visit({ microphone: true, isIdle: mode === 'call' });
      // As in a machine without any network: the answer comes, and its address leads nowhere.
      await page.route('**/calls', async (route) => {
        const response = await route.fetch();
        const body = (await response.text()).replace(/^(a=candidate:.* udp \d+) \S+ \d+/gm, '$1 192.0.2.77 9');
        await route.fulfill({ response, body });
      });
      if (mode === 'direct') await page.click('#way');
      await page.waitForSelector('#way[aria-pressed=true]');
      await page.click('#connect');
      await says(page, '#transcript', /No connection within 3 s/);
      await says(page, '#call-status', /^Connected/);
      await says(page, '#transcript', /Hello!/);
      assert.equal(await page.getAttribute('#way', 'aria-pressed'), 'false');
      assert.equal(await read(page, '#peer'), 'Local stand-in');
    } finally {
      await stage.strike();
    }
  });
});
