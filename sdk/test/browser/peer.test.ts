// Tests calls in Chromium through the real broker, answered by the real peer of its simulated OpenAI: no key, no internet.
import assert from 'node:assert/strict';
import { after, afterEach, before, test, type TestContext } from 'node:test';
import OpenAI from 'openai';
import type { Page } from 'playwright-core';
import { type RealBroker, startBroker } from '../broker.js';
import { dial, hangUp, listen, type Look, look } from './dial.js';
import { Stage } from './stage.js';

let stage: Stage;
before(async () => {
  stage = await Stage.set();
});
after(() => stage?.strike());
afterEach(() => stage.clear());

/** A broker for one test. */
async function broker(t: TestContext, ...settings: string[]): Promise<RealBroker> {
  const broker = await startBroker(...settings);
  t.after(() => broker.stop());
  return broker;
}
/** A page in a call. Chromium's microphone beeps. */
async function caller(url = stage.broker.url, speaks = false): Promise<Page> {
  const page = await stage.page();
  assert.equal(await page.evaluate(dial, { broker: url, speaks }), 201);
  return page;
}
const mute = (page: Page, muted: boolean): Promise<void> =>
  page.evaluate((muted) => window.dialled.peer.getSenders().forEach(({ track }) => track && (track.enabled = !muted)), muted);
const event = (page: Page, type: string): Promise<unknown> =>
  page.waitForFunction((type) => window.dialled.events.some((event) => event.type === type), type);
const send = (page: Page, event: object): Promise<void> => page.evaluate((event) => window.dialled.channel.send(JSON.stringify(event)), event);
const closed = (page: Page): Promise<unknown> => page.waitForFunction(() => window.dialled.channel.readyState === 'closed');
/** Asks the broker about the call until `is` holds, for half a minute. */
async function looks(page: Page, is: (seen: Look) => boolean): Promise<Look> {
  let seen = await page.evaluate(look);
  for (let n = 0; n < 300 && !is(seen); n++) {
    await new Promise((resolve) => setTimeout(resolve, 100));
    seen = await page.evaluate(look);
  }
  return seen;
}
const ended = async (page: Page, reason: string): Promise<void> => {
  await closed(page);
  const seen = await looks(page, ({ state }) => state === 'ended');
  assert.equal(seen.reason, reason);
};

test('CA14 a call through the broker is heard, carries events both ways, and is metered, without any address of the page', async () => {
  const page = await caller();
  await event(page, 'session.created');
  const [heard] = await Promise.all([page.evaluate(listen), send(page, { type: 'response.create' })]);
  assert.ok(heard > 0.05, `${heard}`);
  await event(page, 'output_audio_buffer.stopped');
  const types = await page.evaluate(() => window.dialled.events.map(({ type }) => type).filter((type) => /^(response\.(created|done)|output_audio)/.test(type)));
  assert.deepEqual(types, ['response.created', 'output_audio_buffer.started', 'response.done', 'output_audio_buffer.stopped']);
  const { state, turns, cost } = await looks(page, ({ turns }) => turns > 0);
  assert.deepEqual([state, turns], ['open', 1]);
  assert.ok(Number(cost) > 0, cost);
  await send(page, { type: 'no.such.event' });
  await event(page, 'error');
  // The broker takes them out.
  assert.match(await page.evaluate(() => window.dialled.offer), /a=candidate:/);
});

test('what somebody says is heard, and answered when they stop', async () => {
  const page = await caller(stage.broker.url, true);
  await event(page, 'input_audio_buffer.speech_started');
  await mute(page, true);
  await event(page, 'input_audio_buffer.speech_stopped');
  await event(page, 'response.done');
  await event(page, 'output_audio_buffer.stopped');
});

test('somebody who speaks interrupts what is being said', async () => {
  const page = await caller();
  await event(page, 'session.created');
  const id = await page.evaluate(() => `${window.dialled.url.split('/').pop()}`);
  await stage.broker.play(id, 'long:Once upon a time');
  await event(page, 'output_audio_buffer.started');
  await mute(page, false);
  await event(page, 'output_audio_buffer.cleared');
  const done = await page.evaluate(() => window.dialled.events.find(({ type }) => type === 'response.done'));
  assert.match(JSON.stringify(done), /"status":"cancelled".*turn_detected|turn_detected.*"status":"cancelled"/);
});

test('the page hangs up at the broker, and its data channel closes', async () => {
  const page = await caller();
  await event(page, 'session.created');
  assert.equal(await page.evaluate(hangUp), 200);
  await ended(page, 'hung_up');
});

test('the broker hangs up at the limit, and the page sees it', async (t) => {
  const { url } = await broker(t, 'call.max_duration=15s', 'call.warn_before=5s', 'call.join_timeout=30s');
  const page = await caller(url);
  await event(page, 'session.created');
  await ended(page, 'time_limit');
});

test('a peer that vanishes at the hang-up is missed by the browser in the end', async (t) => {
  const own = await broker(t);
  const page = await caller(own.url);
  await event(page, 'session.created');
  await own.fail('silent', 1, 'hangup');
  assert.equal(await page.evaluate(hangUp), 200);
  await page.waitForFunction(() => window.dialled.peer.connectionState === 'disconnected');
  assert.equal(await page.evaluate(() => window.dialled.channel.readyState), 'open');
});

test('a page that closes its connection has ended its call', async () => {
  const page = await caller();
  await event(page, 'session.created');
  await page.evaluate(() => window.dialled.peer.close());
  await ended(page, 'provider');
});

test('CA16 a locked call has no data channel, and is heard all the same', async (t) => {
  const locked = await broker(t, 'call.persona=locked');
  const page = await caller(locked.url);
  await closed(page);
  const { offer, answer, id } = await page.evaluate(() => {
    const { offer, answer, url } = window.dialled;
    return { offer, answer, id: `${url.split('/').pop()}` };
  });
  const mid = (sdp: string): string | undefined => /m=application [\s\S]*?a=mid:(\S+)/.exec(sdp)?.[1];
  assert.ok(mid(offer));
  assert.equal(mid(answer), mid(offer));
  assert.match(answer, /m=application 0 /);
  assert.ok(!`${/a=group:BUNDLE(.*)/.exec(answer)?.[1]}`.split(' ').includes(`${mid(offer)}`), answer);
  const listening = page.evaluate(listen);
  await locked.play(id, 'long:Once upon a time');
  const heard = await listening;
  assert.ok(heard > 0.05, `${heard}`);
});

test('CA21 agents-js calls through the broker with only another URL: its session is updated, and it talks', async (t) => {
  const { url } = await broker(t, 'connect.mode=call');
  const page = await stage.page();
  const seen = await page.evaluate(async (url) => {
    // The key is a ticket.
    const tokens = window.lab.createTokenManager({ baseUrl: url });
    const session = await window.lab.converse(tokens, `${url}/v1/realtime/calls`);
    const types: string[] = [];
    session.transport.on('*', (event: { type: string }) => types.push(event.type));
    const { status, callId } = session.transport as unknown as { status: string; callId: string };
    session.sendMessage('Hello');
    for (let n = 0; n < 500 && !types.includes('response.done'); n++) await new Promise((resolve) => setTimeout(resolve, 20));
    const { usage } = session;
    session.close();
    return { status, callId, types, tokens: usage.totalTokens };
  }, url);
  assert.equal(seen.status, 'connected');
  assert.match(seen.callId, /^rtc_/);
  for (const type of ['conversation.item.done', 'response.created', 'response.done']) assert.ok(seen.types.includes(type), `${type}: ${seen.types}`);
  assert.ok(seen.tokens > 0);
});

test('CA23 the openai package hangs up a call with only another base URL', async () => {
  const page = await caller();
  await event(page, 'session.created');
  const { url, ticket } = await page.evaluate(() => ({ url: window.dialled.url, ticket: window.dialled.ticket }));
  const client = new OpenAI({ apiKey: ticket, baseURL: `${stage.broker.url}/v1` });
  await client.realtime.calls.hangup(`${url.split('/').pop()}`);
  await ended(page, 'hung_up');
});
