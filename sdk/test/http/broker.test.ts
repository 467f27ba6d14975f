// Tests against the real broker over HTTP: E27, E30 to E32, E36, and the contract that both sides share.
import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { after, before, test, type TestContext } from 'node:test';
import { createTokenManager, type TokenError, type TokenEvents, type TokenManager, type TokenManagerOptions } from '@realtime-token-broker/client';
import { type RealBroker, startBroker, startBrokerOf } from '../broker.js';
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
  // A key of ten seconds is too old to be handed over again at once.
  const brief = await startBroker('session.token_seconds=10', 'session.min_refresh_interval=1s');
  t.after(() => brief.stop());
  const { tokens, errors, paths } = manager(t, { baseUrl: brief.url });
  await tokens.requestToken();
  const started = performance.now();
  await tokens.refreshToken();
  assert.deepEqual(paths, ['/token', '/refresh-token', '/refresh-token']);
  assert.equal(errors[0]?.error.brokerCode, 'refresh_too_soon');
  assert.equal(errors[0]?.error.retryAfterMs, 1000);
  assert.match(errors[0]?.error.requestId ?? '', /^req_/);
  assert.ok(performance.now() - started >= 1000);
});

test('a refresh within the interval of the broker gets the same key again at once', async (t) => {
  const { tokens, errors, paths } = manager(t);
  const first = await tokens.requestToken();
  const again = await tokens.refreshToken();
  assert.deepEqual([again.value, again.sessionId], [first.value, first.sessionId]);
  assert.deepEqual([paths, errors], [['/token', '/refresh-token'], []]);
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

test('E30 a student whose month is spent is told so by the broker itself, and asked once', async (t) => {
  // The student of `dev` may open eight sessions a month.
  const [sam] = await broker.people();
  const { tokens, paths } = manager(t, { headers: { Authorization: sam } });
  for (let nth = 1; nth <= 8; nth++) {
    assert.match((await tokens.requestToken()).value, /^ek_/);
    tokens.forget();
  }
  const error = await refused(tokens);
  assert.deepEqual([error.code, error.brokerCode, error.status, error.limit], ['quota_exceeded', 'quota_exceeded', 429, 'sessions_per_month']);
  assert.equal(error.retryable, false);
  assert.ok((error.retryAfterMs ?? 0) > 0, 'until the month ends');
  assert.match(error.requestId ?? '', /^req_/);
  assert.match(error.hint, /limit/);
  assert.equal(paths.length, 9);
});

test('E32 a login that is missing, expired or forged is unauthorized, and a good one is let in', async (t) => {
  const secret = 'a-secret-of-tests-that-is-long-enough-4f1d';
  const strict = await startBrokerOf(`
[auth]
mode = "required"
[[auth.issuers]]
issuer = "https://id.example.com/"
audience = ["authenticated"]
hmac_secret = "${secret}"
algorithms = ["HS256"]
`);
  t.after(() => strict.stop());
  const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url');
  const bearer = (secondsLeft: number, key: string): string => {
    const now = Math.floor(Date.now() / 1000);
    const claims = { iss: 'https://id.example.com/', aud: 'authenticated', sub: 'ana', iat: now - 600, exp: now + secondsLeft };
    const signed = `${part({ alg: 'HS256', typ: 'JWT' })}.${part(claims)}`;
    return `Bearer ${signed}.${createHmac('sha256', key).update(signed).digest('base64url')}`;
  };
  for (const headers of [{}, { Authorization: bearer(-300, secret) }, { Authorization: bearer(300, `${secret}!`) }]) {
    const { tokens, errors, paths } = manager(t, { baseUrl: strict.url, headers });
    const error = await refused(tokens);
    assert.deepEqual([error.code, error.brokerCode, error.status, error.retryable], ['unauthorized', 'unauthorized', 401, false]);
    assert.match(error.hint, /login/);
    assert.match(error.message, /Authorization/);
    assert.equal(errors[0]?.willRetry, false);
    assert.equal(paths.length, 1);
    tokens.updateOptions({ headers: { Authorization: bearer(300, secret) } });
    assert.match((await tokens.requestToken()).value, /^ek_/);
  }
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

test('a redirect is not followed: neither session nor login go where the broker is not', async (t) => {
  const asked: string[] = [];
  const server = createServer((request, response) => {
    asked.push(`${request.url}`);
    response.writeHead(307, { location: '/elsewhere' }).end();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => server.close());
  const { tokens } = manager(t, { baseUrl: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, maxAttempts: 1 });
  assert.equal((await refused(tokens)).code, 'network');
  assert.deepEqual(asked, ['/token']);
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
