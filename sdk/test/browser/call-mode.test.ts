// Tests call mode in Chromium, with a broker on another origin that holds the call and a peer that plays the model.
import assert from 'node:assert/strict';
import type { RequestListener } from 'node:http';
import { Readable } from 'node:stream';
import { after, afterEach, before, test } from 'node:test';
import type { ReadableStream } from 'node:stream/web';
import type { Page } from 'playwright-core';
import { CallBroker } from '../calls.js';
import { connect, Stage, state, told } from './stage.js';

let stage: Stage;
let broker: CallBroker;
let calls: string;
/** True takes the channel out of offers, as the broker does for personas that are locked. */
let isLocked = false;
before(async () => {
  stage = await Stage.set();
  calls = `${await stage.serve('127.0.0.1', (request, response) => void serve(request, response))}/calls`;
});
after(() => stage?.strike());
afterEach(() => stage.clear());

/** Takes the channel out of `offer`, lets the model answer, and puts the section back as a rejected one. */
async function locked(offer: string): Promise<string> {
  const [all = '', mid] = /m=application[^]*?a=mid:(\w+)[^]*?(?=m=|$)/.exec(offer) ?? [];
  const sdp = await stage.answer(offer.replace(all, '').replace(new RegExp(`(a=group:BUNDLE.*) ${mid}`), '$1'));
  return `${sdp}m=application 0 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\na=mid:${mid}\r\n`;
}

/** Serves `broker` over HTTP, as the real one: behind CORS, with streams. */
const serve = async (...[request, response]: Parameters<RequestListener>): Promise<void> => {
  response.setHeader('access-control-allow-origin', '*');
  response.setHeader('access-control-allow-headers', `${request.headers['access-control-request-headers']}`);
  response.setHeader('access-control-expose-headers', 'location, date, x-call-ends-at');
  if (request.method === 'OPTIONS') return void response.writeHead(204).end();
  let offer = '';
  for await (const chunk of request) offer += String(chunk);
  if (request.url === '/calls') broker.answer = await (isLocked ? locked(offer) : stage.answer(offer));
  const gone = new AbortController();
  response.on('close', () => gone.abort());
  const headers = Object.entries(request.headers).map(([name, value]) => [name, `${value}`] as [string, string]);
  const answer = await broker.fetch(`https://broker.test${request.url}`, { method: `${request.method}`, headers, signal: gone.signal });
  response.writeHead(answer.status, Object.fromEntries(answer.headers));
  if (answer.body) Readable.fromWeb(answer.body as ReadableStream).on('error', () => response.destroy()).pipe(response);
  else response.end();
};

/** A page whose keys are tickets, with a connection that tells what it hears. */
async function caller(): Promise<Page> {
  broker = new CallBroker();
  const page = await stage.page();
  await page.evaluate((calls) => {
    let minted = 0;
    window.tokens = window.lab.createTokenManager({ source: async () => ({ value: `ek_${++minted}`, expires_in: 60, connect: { mode: 'call', calls } }) });
    window.told = [];
    window.lab.follow(window.tokens, 'status', 'secondsLeft', 'cost', 'estimatedCost', 'warning', 'ended');
  }, calls);
  return page;
}

test('a page sees its call count down, cost money and end at its limit', async () => {
  const page = await caller();
  assert.equal(await connect(page), 'connected');
  await told(page, 'session.created');
  await told(page, 'secondsLeft 599');
  broker.change({ cost: '0.0125', estimated_cost: '0.0025', turns: 1 });
  await told(page, 'cost 0.0125');
  await told(page, 'estimatedCost 0.0025');
  broker.change({ warning: true, seconds_left: 30 }, 'warning');
  await told(page, 'warning {"secondsLeft":30}');
  broker.change({ state: 'ending', reason: 'time_limit', seconds_left: 0 });
  await stage.hangUp();
  await told(page, 'ended {"reason":"time_limit","cost":0.0125}');
  await told(page, 'status "disconnected"');
  assert.equal(await state(page), 'disconnected ended The call has ended: time_limit.');
  assert.deepEqual(broker.paths, ['POST offer', 'GET /events']);
  assert.equal(broker.asked[1]?.bearer, 'Bearer ek_1');
});

test('a provider that hangs up before the broker tells why makes no new call', async () => {
  const page = await caller();
  assert.equal(await connect(page), 'connected');
  await told(page, 'secondsLeft 599');
  broker.view = { ...broker.view, revision: 9, state: 'ending', reason: 'money_limit' };
  await stage.hangUp();
  await told(page, 'status "disconnected"');
  assert.equal(await state(page), 'disconnected ended The call has ended: money_limit.');
  assert.equal(broker.paths.filter((path) => path === 'POST offer').length, 1);
});

test('a page that hangs up, and a page that is left, hang up at the broker', async () => {
  for (const leave of [(page: Page) => page.evaluate(() => window.connection.disconnect()), (page: Page) => page.goto('about:blank')]) {
    const page = await caller();
    assert.equal(await connect(page), 'connected');
    await told(page, 'secondsLeft 599');
    await leave(page);
    for (let n = 0; n < 500 && !broker.paths.includes('POST /hangup'); n++) await new Promise((resolve) => setTimeout(resolve, 20));
    assert.deepEqual(broker.paths, ['POST offer', 'GET /events', 'POST /hangup']);
  }
});

test('a call without a channel connects with audio, and the broker tells its end', async () => {
  isLocked = true;
  try {
    const page = await caller();
    assert.equal(await connect(page), 'connected');
    assert.equal(await page.evaluate(() => window.connection.send({ type: 'response.create' })), false);
    await told(page, 'secondsLeft 599');
    assert.equal(await state(page), 'connected');
    broker.change({ state: 'ended', reason: 'operator' });
    await told(page, 'ended {"reason":"operator","cost":0}');
    await told(page, 'status "disconnected"');
  } finally {
    isLocked = false;
  }
});

test('agents-js calls through the broker with only another URL, and its connection ends with the call', async () => {
  const page = await caller();
  await page.evaluate(() => (window.connection.options = { ...window.connection.options, connect: window.lab.agent as never }));
  assert.equal(await connect(page), 'connected');
  const left = () => page.evaluate(() => window.connection.getSnapshot().call?.getSnapshot().secondsLeft);
  for (let n = 0; n < 500 && !(await left()); n++) await new Promise((resolve) => setTimeout(resolve, 20));
  assert.ok(Number(await left()) > 500);
  broker.change({ state: 'ending', reason: 'turn_limit' });
  await told(page, 'status "disconnected"');
  assert.equal(await state(page), 'disconnected ended The call has ended: turn_limit.');
  assert.deepEqual(broker.paths, ['POST offer', 'GET /events']);
  assert.deepEqual(await page.evaluate(() => window.lab.converse(window.tokens).then(({ usage }) => typeof usage)), 'object');
  assert.equal(broker.asked[2]?.path, 'offer');
});
