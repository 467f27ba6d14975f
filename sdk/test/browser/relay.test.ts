// Tests agents-js in Chromium at the relay of the real broker, which is on another origin.
import assert from 'node:assert/strict';
import { after, afterEach, before, test } from 'node:test';
import { Stage, told } from './stage.js';

/** The model of the persona. */
const MODEL = 'gpt-realtime-2.1';

let stage: Stage;
before(async () => {
  stage = await Stage.set('auth.mode=optional', 'call.max_duration=20s', 'call.warn_before=10s');
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

test('a connection of this client speaks and listens through the relay, counts, and ends at the limit', async () => {
  const page = await stage.page();
  const connected = await page.evaluate(async (baseUrl) => {
    const tokens = window.lab.createTokenManager({ baseUrl, body: { connect: 'relay' } });
    window.lab.follow(tokens, 'status', 'warning', 'ended');
    await window.connection.connect();
    const { status, error, session } = window.connection.getSnapshot();
    return [status, error?.message ?? null, session?.peer, session?.callId?.slice(0, 5)];
  }, stage.broker.url);
  assert.deepEqual(connected, ['connected', null, null, 'sess_']);
  await told(page, 'session.created');
  // The fake microphone beeps.
  await page.waitForFunction(() => {
    window.connection.send({ type: 'input_audio_buffer.commit' });
    return window.told.includes('input_audio_buffer.committed');
  });
  await page.evaluate(() => window.connection.send({ type: 'response.create' }));
  await told(page, 'response.output_audio.delta');
  await told(page, 'response.done');
  const muted = await page.evaluate(() => {
    window.connection.mute(true);
    return window.connection.getSnapshot().session?.microphone?.getAudioTracks()[0]?.enabled;
  });
  assert.equal(muted, false);
  await told(page, /^ended {"reason":"time_limit"/);
  await told(page, 'status "disconnected"');
  const { error, call } = await page.evaluate(() => {
    const { error, call } = window.connection.getSnapshot();
    return { error: error?.code, call: call?.getSnapshot() };
  });
  assert.equal(error, 'ended');
  assert.ok(Number(call?.turns) >= 1 && Number(call?.cost) > 0, JSON.stringify(call));
});

test('a relay that is refused is an error, and a page that hangs up is connected no more', async () => {
  const page = await stage.page(undefined, false);
  const seen = await page.evaluate(async (baseUrl) => {
    const tokens = window.lab.createTokenManager({ baseUrl, body: { connect: 'relay' } });
    const connection = window.lab.createRealtimeConnection({ tokens, microphone: false });
    await connection.connect();
    const { callId, call } = connection.getSnapshot().session ?? {};
    connection.disconnect();
    await new Promise<void>((resolve) => call?.on('ended', () => resolve()));
    const reason = call?.getSnapshot().endedReason;
    const source = async () => ({ value: `ek_${'A'.repeat(43)}`, expires_in: 60, connect: { mode: 'relay', realtime: `${baseUrl.replace('http', 'ws')}/v1/realtime` } });
    const stranger = window.lab.createRealtimeConnection({ tokens: window.lab.createTokenManager({ source }), microphone: false });
    await stranger.connect();
    return [callId?.slice(0, 5), reason, connection.getSnapshot().status, Object(stranger.getSnapshot().error).code];
  }, stage.broker.url);
  assert.deepEqual(seen, ['sess_', 'hung_up', 'disconnected', 'refused']);
});
