// Tests agents-js in Chromium at the relay of the real broker, which is on another origin.
import assert from 'node:assert/strict';
import { after, afterEach, before, test } from 'node:test';
import { Stage } from './stage.js';

/** The model of the persona. */
const MODEL = 'gpt-realtime-2.1';

let stage: Stage;
before(async () => {
  stage = await Stage.set('auth.mode=optional');
});
after(() => stage?.strike());
afterEach(() => stage.clear());

test('agents-js talks through the relay by its WebSocket, with a login as its key, and its own instructions reach nobody', async () => {
  const page = await stage.page(undefined, false);
  const [, toni] = await stage.broker.people();
  const url = `${stage.broker.url.replace('http', 'ws')}/v1/realtime?model=${MODEL}`;
  const ask = (key: string) => page.evaluate(([url, key, model]) => window.lab.relay(url, key, model), [url, key, MODEL] as const);
  const { instructions, tokens } = await ask(toni.replace('Bearer ', ''));
  assert.ok(tokens > 0);
  assert.ok(instructions.length >= 2, 'the client has sent its update, and it was answered');
  for (const each of instructions) assert.doesNotMatch(each, /pirate|undefined/);
  await assert.rejects(ask('ek_of_nobody'), 'a key that nobody knows opens nothing');
});

test('agents-js takes a ticket for the relay as it takes a client secret', async () => {
  const page = await stage.page(undefined, false);
  const { mode, instructions, tokens } = await page.evaluate(async ([baseUrl, model]) => {
    const manager = window.lab.createTokenManager({ baseUrl, body: { connect: 'relay' } });
    const { value, connect } = await manager.takeToken();
    return { mode: connect?.mode, ...(await window.lab.relay(`${connect?.realtime}`, value, model)) };
  }, [stage.broker.url, MODEL] as const);
  assert.equal(mode, 'relay');
  assert.ok(tokens > 0);
  for (const each of instructions) assert.match(each, /friendly voice assistant/);
});
