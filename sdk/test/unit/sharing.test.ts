// Tests callers that share a request: E16 to E22.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { settle } from '@realtime-token-broker/client/testing';
import { bench, outcome, SECOND } from '../setup.js';

test('E16 ten calls at once make one request and get the same object', async (t) => {
  const { tokens, broker } = bench(t);
  const all = await Promise.all(Array.from({ length: 10 }, () => tokens.requestToken()));
  assert.equal(broker.requests.length, 1);
  assert.equal(new Set(all).size, 1);
});

test('E17 a call during a scheduled refresh gets the old token at once', async (t) => {
  const { tokens, clock, broker } = bench(t);
  const first = await tokens.requestToken();
  broker.next(broker.hang());
  await clock.advance(570 * SECOND);
  assert.equal(tokens.getSnapshot().phase, 'refreshing');
  assert.equal(await tokens.requestToken(), first);
  assert.equal(broker.requests.length, 2);
});

test('E17 a call in the last seconds before the threshold starts the refresh behind itself', async (t) => {
  const { tokens, clock, broker } = bench(t, 600, { autoRefresh: false });
  const first = await tokens.requestToken();
  await clock.advance(575 * SECOND);
  assert.equal(broker.requests.length, 1);
  assert.equal(await tokens.requestToken(), first);
  await settle();
  assert.equal(broker.requests.length, 2);
});

test('E18 a call during a refresh waits when the token is nearly over', async (t) => {
  const { tokens, clock, broker } = bench(t, 600, { timeoutMs: 60_000 });
  const first = await tokens.requestToken();
  let answer = (_: Response): void => {};
  broker.next(new Promise<Response>((resolve) => (answer = resolve)));
  await clock.advance(597 * SECOND);
  const waiting = tokens.requestToken();
  const key = tokens.getApiKey();
  await settle();
  answer(broker.token());
  assert.notEqual(await waiting, first);
  assert.equal(await key, (await waiting).value);
  assert.equal(broker.requests.length, 2);
});

test('E18 a key is good for 30 s, or for half of its life', async (t) => {
  const { tokens, clock, broker } = bench(t, 600, { autoRefresh: false });
  const first = await tokens.getApiKey();
  await clock.advance(571 * SECOND);
  assert.notEqual(await tokens.getApiKey(), first);
  broker.lifetimeSeconds = 20;
  tokens.invalidate();
  const short = await tokens.getApiKey();
  await clock.advance(9 * SECOND);
  assert.equal(await tokens.getApiKey(), short);
  await clock.advance(2 * SECOND);
  assert.notEqual(await tokens.getApiKey(), short);
});

test('E18 a key that lives is handed out when the refresh pauses after a failure', async (t) => {
  const { tokens, clock, broker, asked } = bench(t, 600, { autoRefresh: false });
  const first = await tokens.getApiKey();
  await clock.advance(575 * SECOND);
  broker.next(...[1, 2].map(() => () => broker.refuse(503, 'overloaded', 20)));
  const key = tokens.getApiKey();
  await clock.advance(0);
  assert.equal(await Promise.race([key, 'waits']), first);
  assert.equal(tokens.getSnapshot().phase, 'backoff');
  assert.equal(await Promise.race([tokens.getApiKey(), settle().then(() => 'waits')]), first);
  const exact = tokens.requestToken({ minValidityMs: 30_000 });
  assert.equal(await Promise.race([exact, settle().then(() => 'waits')]), 'waits');
  assert.equal(asked.length, 2);
  await clock.advance(40 * SECOND);
  assert.notEqual((await exact).value, first);
});

test('E18 a key that lives is handed out in time when the refresh takes too long', async (t) => {
  const { tokens, clock, broker } = bench(t, 600, { autoRefresh: false, timeoutMs: 60_000 });
  const first = await tokens.getApiKey();
  await clock.advance(580 * SECOND);
  let answer = (_: Response): void => {};
  broker.next(new Promise<Response>((resolve) => (answer = resolve)));
  let key = '';
  void tokens.getApiKey().then((got) => (key = got));
  await clock.advance(14_999);
  assert.equal(key, '');
  await clock.advance(1);
  assert.equal(key, first, '5 s before its end');
  answer(broker.token());
  await settle();
  assert.notEqual(tokens.getCurrentToken()?.value, first, 'the refresh goes on');
});

test('E18 a key that was dropped meanwhile is not handed out', async (t) => {
  const { tokens, clock, broker } = bench(t, 600, { autoRefresh: false, timeoutMs: 60_000 });
  const first = await tokens.getApiKey();
  await clock.advance(580 * SECOND);
  let answer = (_: Response): void => {};
  broker.next(new Promise<Response>((resolve) => (answer = resolve)));
  const key = tokens.getApiKey();
  await settle();
  tokens.invalidate();
  await clock.advance(16 * SECOND);
  answer(broker.token());
  assert.notEqual(await key, first);
});

test('E19 force joins a refresh that is running', async (t) => {
  const { tokens, broker } = bench(t);
  await tokens.requestToken();
  const [a, b, c] = await Promise.all([tokens.refreshToken(), tokens.requestToken({ force: true }), tokens.refreshToken()]);
  assert.equal(a, b);
  assert.equal(b, c);
  assert.equal(broker.requests.length, 2);
});

test('E20 a caller who aborts leaves the others and the request alone', async (t) => {
  const { tokens, broker, told } = bench(t);
  const leaving = new AbortController();
  const a = outcome(tokens.requestToken({ signal: leaving.signal }));
  const b = tokens.requestToken({ signal: new AbortController().signal });
  leaving.abort();
  assert.equal(((await a) as { code: string }).code, 'aborted');
  assert.ok((await b).value);
  assert.equal(broker.requests[0]?.signal?.aborted, false);
  assert.deepEqual(told.map((event) => event.type), ['tokenRefreshed']);
});

test('E21 when all callers have aborted the request is cancelled and nobody is told', async (t) => {
  const { tokens, clock, broker, told } = bench(t);
  broker.next(broker.hang());
  const [one, two] = [new AbortController(), new AbortController()];
  const a = outcome(tokens.requestToken({ signal: one.signal }));
  const b = outcome(tokens.requestToken({ signal: two.signal }));
  await settle();
  one.abort();
  await settle();
  assert.equal(broker.requests[0]?.signal?.aborted, false);
  two.abort();
  await Promise.all([a, b]);
  assert.equal(broker.requests[0]?.signal?.aborted, true);
  await clock.advance(30 * SECOND);
  assert.deepEqual(told, []);
  assert.equal(tokens.getSnapshot().phase, 'idle');
  assert.ok((await tokens.requestToken()).value);
});

test('E22 a signal that has aborted already makes no request', async (t) => {
  const { tokens, broker } = bench(t);
  const { code } = (await outcome(tokens.requestToken({ signal: AbortSignal.abort() }))) as { code: string };
  assert.equal(code, 'aborted');
  await settle();
  assert.equal(broker.requests.length, 0);
});
