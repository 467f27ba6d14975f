// Owns the tests against the real broker over HTTP: E27, E30 to E32, E36, and the contract that both sides share.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { after, before, test, type TestContext } from 'node:test';
import { createTokenManager, type TokenError, type TokenEvents, type TokenManager, type TokenManagerOptions } from '@realtime-token-broker/client';
import { type RealBroker, startBroker } from '../broker.js';
import { outcome } from '../setup.js';

let broker: RealBroker;
before(async () => {
  broker = await startBroker('limits.token=1000/60s', 'session.token_seconds=60', 'session.min_refresh_interval=1s', 'guard.threshold=1000');
});
after(() => broker.stop());

function manager(t: TestContext, options: TokenManagerOptions = {}): { tokens: TokenManager; errors: TokenEvents['tokenError'][]; paths: string[] } {
  const paths: string[] = [];
  const counted: typeof fetch = (input, init) => {
    paths.push(new URL(`${input}`).pathname);
    return fetch(input, init);
  };
  const tokens = createTokenManager({ baseUrl: broker.url, fetch: counted, ...options });
  const errors: TokenEvents['tokenError'][] = [];
  tokens.on('tokenError', (event) => errors.push(event));
  t.after(() => tokens.destroy());
  return { tokens, errors, paths };
}

const refused = async (tokens: TokenManager): Promise<TokenError> => (await outcome(tokens.requestToken())) as TokenError;

test('E40 the real answer has the fields of the golden one and is read', async (t) => {
  const golden = JSON.parse(readFileSync(new URL('../../../../tests/contract/token.json', import.meta.url), 'utf8')) as object;
  const answer = (await (await fetch(`${broker.url}/token`, { method: 'POST' })).json()) as object;
  assert.deepEqual(Object.keys(answer).sort(), Object.keys(golden).sort());
  const { tokens } = manager(t);
  const token = await tokens.requestToken();
  assert.match(token.value, /^ek_sim_/);
  assert.ok(token.lifetimeMs >= 58_000 && token.lifetimeMs <= 60_000);
  assert.equal(token.session?.type, 'realtime');
});

test('E01 a refresh goes to the session of the first token', async (t) => {
  const { tokens, paths } = manager(t);
  const first = await tokens.requestToken();
  await new Promise((resolve) => setTimeout(resolve, 1100));
  const second = await tokens.refreshToken();
  assert.deepEqual(paths, ['/token', '/refresh-token']);
  assert.equal(second.sessionId, first.sessionId);
  assert.notEqual(second.value, first.value);
});

test('E27 the broker says how long to wait, and the client waits', async (t) => {
  const { tokens, errors, paths } = manager(t);
  await tokens.requestToken();
  const started = performance.now();
  await tokens.refreshToken();
  assert.deepEqual(paths, ['/token', '/refresh-token', '/refresh-token']);
  assert.equal(errors[0]?.error.brokerCode, 'refresh_too_soon');
  assert.equal(errors[0]?.error.retryAfterMs, 1000);
  assert.match(errors[0]?.error.requestId ?? '', /^req_/);
  assert.ok(performance.now() - started >= 1000);
});

test('E29 the window of an address is told with the time at which it opens', async (t) => {
  const small = await startBroker('limits.token=1/60s', 'guard.threshold=1000');
  t.after(() => small.stop());
  await fetch(`${small.url}/token`, { method: 'POST' });
  const { tokens, paths } = manager(t, { baseUrl: small.url, maxRetryAfterMs: 1000 });
  const error = await refused(tokens);
  assert.equal(error.code, 'rate_limited');
  assert.equal(error.brokerCode, 'rate_limited');
  assert.ok((error.retryAfterMs ?? 0) > 50_000);
  assert.equal(paths.length, 1);
});

test('E30 a spent quota is told as such and asked once', async (t) => {
  const body = { success: false, error: { type: 'rate_limit_error', code: 'quota_exceeded', message: 'spent', limit: 'identity', retry_after: 60 } };
  const server = createServer((_, response) => {
    response.writeHead(429, { 'content-type': 'application/json', 'retry-after': '60' }).end(JSON.stringify(body));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => server.close());
  const { tokens, paths } = manager(t, { baseUrl: `http://127.0.0.1:${(server.address() as AddressInfo).port}` });
  const error = await refused(tokens);
  assert.deepEqual([error.code, error.limit, error.retryable, paths.length], ['quota_exceeded', 'identity', false, 1]);
});

test('E32 an unknown persona and an unknown field are told with the field, and asked once', async (t) => {
  for (const [body, brokerCode, param] of [
    [{ persona: 'nobody' }, 'unknown_persona', 'persona'],
    [{ colour: 'red' }, 'bad_request', 'colour'],
  ] as const) {
    const { tokens, paths } = manager(t, { body });
    const error = await refused(tokens);
    assert.deepEqual([error.code, error.brokerCode, error.param, paths.length], ['bad_request', brokerCode, param, 1]);
  }
});

test('E32 a foreign origin and a wrong path are told apart', async (t) => {
  const foreign = manager(t, { headers: { origin: 'https://evil.example' } });
  const error = await refused(foreign.tokens);
  assert.deepEqual([error.code, error.brokerCode], ['forbidden', 'origin_not_allowed']);
  const lost = manager(t, { tokenPath: '/tokens' });
  assert.deepEqual([(await refused(lost.tokens)).code, lost.paths.length], ['not_found', 1]);
});

test('E33 an upstream that fails for longer than the broker tries is tried again until it is back', async (t) => {
  await broker.fail('503', 3);
  const { tokens, errors } = manager(t);
  assert.match((await tokens.requestToken()).value, /^ek_/);
  assert.equal(errors[0]?.error.code, 'upstream_unavailable');
  assert.equal(errors[0]?.willRetry, true);
});

test('E36 a session that the broker does not know is replaced in the same attempt', async (t) => {
  const { tokens, errors, paths } = manager(t);
  await tokens.requestToken();
  const other = await startBroker();
  t.after(() => other.stop());
  tokens.updateOptions({ baseUrl: other.url });
  assert.match((await tokens.refreshToken()).value, /^ek_/);
  assert.deepEqual(paths, ['/token', '/refresh-token', '/token']);
  assert.deepEqual(errors, []);
});

test('E36 Sam signs out and Toni signs in: no 404, and nobody is blocked', async (t) => {
  const strict = await startBroker('session.min_refresh_interval=1s');
  t.after(() => strict.stop());
  const [sam, toni] = await strict.people();
  for (const forget of [true, false]) {
    let bearer = sam;
    const asked: string[] = [];
    const counted: typeof fetch = async (input, init) => {
      const answer = await fetch(input, init);
      asked.push(`${new URL(`${input}`).pathname} ${answer.status}`);
      return answer;
    };
    const { tokens, errors } = manager(t, { baseUrl: strict.url, fetch: counted, headers: async () => ({ Authorization: bearer }) });
    const first = await tokens.requestToken();
    for (const next of [toni, sam, toni]) {
      bearer = next;
      if (forget) tokens.forget();
      const token = await (forget ? tokens.requestToken() : tokens.refreshToken());
      assert.notEqual(token.sessionId, first.sessionId);
    }
    await new Promise((resolve) => setTimeout(resolve, 1100));
    await tokens.refreshToken();
    assert.deepEqual(asked, [...Array<string>(4).fill('/token 200'), '/refresh-token 200']);
    assert.deepEqual(errors, []);
  }
});
