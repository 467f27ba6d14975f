// Tests the client with the globals of React Native: an AbortController of 2019, no DOM, no EventTarget, no Symbol.dispose.
import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import type { AddressInfo } from 'node:net';
import { after, before, test } from 'node:test';
import { createContext, runInContext } from 'node:vm';
import type * as Core from '@realtime-token-broker/client';
import type * as Calls from '@realtime-token-broker/client/call';
import { type RealBroker, startBroker } from '../broker.js';
import { bundle } from './bundle.js';

const load = createRequire(import.meta.url);
type Client = typeof Core & typeof Calls;
let broker: RealBroker;
let script: string;
before(async () => {
  [broker, script] = await Promise.all([startBroker(), bundle('iife', "export * from './index.js'; export * from './call/index.js'")]);
});
after(() => broker.stop());

/** Loads the client into a realm that has these globals and those of the language, and nothing else. */
function app(): Client {
  const { AbortController, AbortSignal } = load('abort-controller') as { AbortController: new () => object; AbortSignal: { prototype: object } };
  for (const missing of ['throwIfAborted', 'reason']) assert.ok(!(missing in AbortSignal.prototype), missing);
  /** As React Native's, it knows no signal of another kind: Node's would refuse this one. */
  const send = (url: string, { signal, ...init }: RequestInit): Promise<Response> => {
    const own = new globalThis.AbortController();
    signal?.addEventListener('abort', () => own.abort());
    return fetch(url, { ...init, signal: own.signal });
  };
  const globals = { AbortController, AbortSignal, Headers, clearTimeout, console, fetch: send, performance: { now: () => performance.now() }, setTimeout };
  const realm = createContext(globals);
  for (const missing of ['window', 'document', 'location', 'navigator', 'addEventListener', 'EventTarget', 'Event', 'URL', 'atob', 'reportError']) {
    assert.equal(runInContext(`typeof ${missing}`, realm), 'undefined', missing);
  }
  runInContext('delete Symbol.dispose; delete Symbol.asyncDispose;', realm);
  runInContext(script, realm);
  return runInContext('client', realm) as Client;
}

test('F28 an app without a page gets a key, refreshes it, and ends', async () => {
  const tokens = app().createTokenManager({ baseUrl: broker.url });
  const token = await tokens.requestToken();
  assert.match(token.value, /^ek_/);
  assert.equal(tokens.getSnapshot().phase, 'ready');
  tokens.destroy();
  assert.equal(tokens.getSnapshot().phase, 'destroyed');
});

test('F28 callers can abort, requests time out, and every failure is a TokenError', async () => {
  const client = app();
  const { AbortController } = load('abort-controller') as { AbortController: new () => globalThis.AbortController };
  const codes: unknown[] = [];
  const code = (promise: Promise<unknown>): Promise<void> => promise.then(() => 'a token', (error) => client.TokenError.is(error) && error.code).then((told) => void codes.push(told));
  const hangs = client.createTokenManager({ source: () => new Promise(() => {}), timeoutMs: 20, maxAttempts: 1 });
  const gone = new AbortController();
  const left = code(hangs.requestToken({ signal: gone.signal }));
  gone.abort();
  await left;
  await code(hangs.requestToken());
  await code(client.createTokenManager({ baseUrl: 'http://127.0.0.1:9', maxAttempts: 1 }).requestToken());
  const ended = client.createTokenManager({ source: () => new Promise(() => {}) });
  const waiting = code(ended.requestToken());
  ended.destroy();
  await waiting;
  assert.deepEqual(codes, ['aborted', 'timeout', 'network', 'destroyed']);
  assert.throws(() => client.createTokenManager(), /baseUrl is required/);
});

test('F28 a key is refreshed by itself, tried again after a failure, and replaced when it was refused', async () => {
  const client = app();
  let fetched = 0;
  const tokens = client.createTokenManager({
    retryBaseMs: 1,
    source: async () => {
      if (fetched++ === 0) throw new client.TokenError('network');
      return { value: `ek_${fetched}`, expires_in: 600 };
    },
  });
  assert.equal(await tokens.getApiKey(), 'ek_2');
  const used = await client.withFreshKey(tokens, async (key) => {
    if (key === 'ek_2') throw Object.assign(new Error('refused'), { status: 401 });
    return key;
  });
  assert.equal(used, 'ek_3');
  tokens.destroy();
});

test('F28 an app follows its call by looking at it, and hangs up', async () => {
  const view = { state: 'open', revision: 1, seconds_left: 20, warning: false, turns: 0, tokens: 0, cost: '0' };
  const asked: string[] = [];
  const server = createServer((request, response) => {
    asked.push(`${request.method} ${request.url} ${request.headers.authorization}`);
    if (request.method === 'POST') Object.assign(view, { state: 'ended', revision: 2, reason: 'hung_up' });
    response.setHeader('content-type', 'application/json').end(JSON.stringify(view));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  try {
    const call = app().followCall({ url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/calls/rtc_1`, ticket: 'ek_1' });
    await new Promise<void>((resolve) => call.on('secondsLeft', () => resolve(), { once: true }));
    const ended = new Promise((resolve) => call.on('ended', resolve));
    await call.hangUp();
    assert.equal(JSON.stringify(await ended), '{"reason":"hung_up","cost":0}');
    assert.deepEqual([asked[0], asked.at(-1)], ['GET /calls/rtc_1 Bearer ek_1', 'POST /calls/rtc_1/hangup Bearer ek_1']);
  } finally {
    server.closeAllConnections();
    server.close();
  }
});
