// Tests which answers of a source are accepted, and how a token is dropped: E37 to E44.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { createTokenManager, fromFunction, fromLiteral, TokenError } from '@realtime-token-broker/client';
import { createFakeClock, settle } from '@realtime-token-broker/client/testing';
import { bench, HOUR, outcome, SECOND } from '../setup.js';

const json = (body: unknown): Response => new Response(JSON.stringify(body), { headers: { 'content-type': 'application/json' } });
const golden = (name: string): unknown => JSON.parse(readFileSync(new URL(`../../../../tests/contract/${name}.json`, import.meta.url), 'utf8'));
/** When the golden answers were written: a minute before their secrets end. */
const GOLDEN_NOW = 1_640_995_200_000;

test('E37 a page of a captive portal is no token, and the error names its content type', async (t) => {
  const { tokens, broker } = bench(t);
  broker.next(new Response('<html>Sign in</html>', { headers: { 'content-type': 'text/html' } }));
  const error = (await outcome(tokens.requestToken())) as TokenError;
  assert.equal(error.code, 'invalid_response');
  assert.match(error.message, /text\/html/);
  assert.equal(broker.requests.length, 1);
});

test('E38 answers without a usable token or end are refused, and nothing is kept', async (t) => {
  for (const body of [
    '',
    'null',
    '[]',
    '"ek_text"',
    '{}',
    '{"value":"","expires_in":60}',
    '{"value":"undefined","expires_in":60}',
    '{"value":"null","expires_in":60}',
    '{"value":12,"expires_in":60}',
    '{"value":"ek_abcdefghijkl"}',
    '{"value":"ek_abcdefghijkl","expires_in":"soon"}',
    '{"value":"ek_abcdefghijkl","expires_in":0}',
    '{"value":"ek_abcdefghijkl","expiresAt":1640995260000}',
  ]) {
    const { tokens, broker, of } = bench(t);
    broker.next(new Response(body, { headers: { 'content-type': 'application/json' } }));
    const error = (await outcome(tokens.requestToken())) as TokenError;
    assert.equal(error.code, 'invalid_response', body);
    assert.equal(tokens.getCurrentToken(), null);
    assert.equal(of('tokenRefreshed').length, 0);
  }
});

test('E39 a standard API key is refused and never shown', async (t) => {
  const { tokens, broker } = bench(t);
  broker.next(broker.token({ value: 'sk-proj-leaked-secret', token: 'sk-proj-leaked-secret' }));
  const error = (await outcome(tokens.requestToken())) as TokenError;
  assert.equal(error.code, 'invalid_response');
  assert.match(error.message, /[Rr]evoke/);
  assert.ok(!`${error.stack}${JSON.stringify(error)}${error.hint}`.includes('leaked'));
});

test('E40 every known shape is read, and unknown fields are ignored', async (t) => {
  const end = GOLDEN_NOW / 1000 + 60;
  const shapes: [string, unknown, string | undefined][] = [
    ['ours', golden('token'), 'rts_…'],
    ['GA', golden('client-secret'), undefined],
    ['oldest', golden('session'), 'rts_…'],
    ['beta', { object: 'realtime.session', client_secret: { value: 'ek_test_1', expires_at: end } }, undefined],
    ['ancestor', { success: true, token: 'ek_test_1', expiresAt: end * 1000, sessionId: 's' }, 's'],
    ['unknown fields', { value: 'ek_test_1', expires_in: 60, brand_new: { deep: [1] } }, undefined],
    ['empty fields', { value: null, token: 'ek_test_1', expires_in: null, expires_at: end }, undefined],
    ['fields of ours', { value: 'ek_test_1', expires_at: end, answeredAt: 'today', owner: [], max_uses: 0, refresh_in: null }, undefined],
  ];
  for (const [name, body, sessionId] of shapes) {
    const { tokens, broker, warnings } = bench(t, 60, { clock: createFakeClock(GOLDEN_NOW) });
    broker.next(json(body));
    const token = await tokens.requestToken();
    assert.equal(token.value, 'ek_test_1', name);
    assert.equal(token.lifetimeMs, 60 * SECOND, name);
    assert.equal(token.expiresAt, end * 1000, name);
    assert.equal(token.sessionId, sessionId, name);
    assert.deepEqual(warnings, [], name);
  }
});

test('E40 the golden answer of the broker tells the session in short', async (t) => {
  const { tokens, broker } = bench(t);
  const full = golden('token') as { session: object };
  broker.next(json({ ...full, session: { ...full.session, instructions: 'private' } }));
  assert.deepEqual((await tokens.requestToken()).session, full.session);
});

test('E41 a new token that ends sooner does not replace the one at hand', async (t) => {
  const { tokens, clock, broker, warnings, of } = bench(t);
  const first = await tokens.requestToken();
  broker.lifetimeSeconds = 60;
  assert.equal(await tokens.refreshToken(), first);
  assert.equal(warnings.length, 1);
  assert.equal(of('tokenRefreshed').length, 1);
  tokens.invalidate();
  const second = await tokens.requestToken();
  assert.equal(second.lifetimeMs, 60 * SECOND);
  await clock.advance(SECOND);
  assert.equal(tokens.getCurrentToken(), second);
});

test('E42 a token for one use is handed out once', async (t) => {
  const { tokens, broker, of } = bench(t);
  broker.next(...Array.from({ length: 5 }, () => () => broker.token({ max_uses: 1 })));
  const [a, b] = await Promise.all([tokens.requestToken(), tokens.requestToken()]);
  const c = await tokens.requestToken();
  assert.equal(new Set([a.value, b.value, c.value]).size, 3);
  assert.equal(broker.requests.length, 3);
  assert.equal(tokens.getCurrentToken(), null);
  assert.equal(of('tokenExpired').length, 0);
});

test('E42 a ticket is handed out once, and a broker that hands it over again is asked for a new session', async (t) => {
  for (const mode of ['call', 'relay']) {
    const { tokens, broker, clock } = bench(t);
    const connect = { mode, calls: 'https://broker.test/calls' };
    const ticket = (value: string) => () => broker.token({ value, connect });
    broker.next(ticket('ek_1'), ticket('ek_1'), ticket('ek_2'), ticket('ek_3'));
    const first = await tokens.takeToken();
    assert.deepEqual([first.value, first.connect], ['ek_1', connect]);
    assert.equal(tokens.getCurrentToken(), null);
    await clock.advance(HOUR);
    assert.equal(broker.requests.length, 1, 'a ticket that was used is not renewed');
    assert.equal(await tokens.getApiKey(), 'ek_2');
    assert.deepEqual(broker.paths, ['/token', '/refresh-token', '/token']);
    assert.equal((await tokens.requestToken()).value, 'ek_3');
    assert.equal(broker.paths.at(-1), '/refresh-token');
  }
});

test('E43 after invalidate() nothing is fetched until the next call, which says why', async (t) => {
  const reasons: string[] = [];
  const { tokens, clock, broker, of } = bench(t, 600, { logger: { debug: (reason) => reasons.push(reason) } });
  await tokens.requestToken();
  tokens.invalidate('refused');
  assert.deepEqual(reasons, ['refused']);
  assert.equal(tokens.getCurrentToken(), null);
  assert.equal(tokens.getSnapshot().phase, 'idle');
  await clock.advance(20 * SECOND);
  assert.equal(broker.requests.length, 1);
  await tokens.requestToken();
  assert.deepEqual(of('tokenRefreshed').map((event) => event.reason), ['initial', 'invalidated']);
});

test('E44 the answer to a request that ran during invalidate() is accepted', async (t) => {
  const { tokens, broker } = bench(t);
  await tokens.requestToken();
  let answer = (_: Response): void => {};
  broker.next(new Promise<Response>((resolve) => (answer = resolve)));
  const running = tokens.refreshToken();
  await settle();
  tokens.invalidate();
  answer(broker.token());
  const token = await running;
  assert.equal(tokens.getCurrentToken(), token);
  assert.equal(await tokens.requestToken(), token);
  assert.equal(broker.requests.length, 2);
});

test('E43 after invalidate() a refresh that comes too soon opens a new session', async (t) => {
  const { tokens, clock, broker, told } = bench(t);
  await tokens.requestToken();
  tokens.invalidate();
  broker.next(broker.refuse(429, 'refresh_too_soon', 10));
  const token = tokens.requestToken();
  await clock.advance(0);
  assert.ok((await token).value);
  assert.deepEqual(broker.paths, ['/token', '/refresh-token', '/token']);
  assert.deepEqual(told.map((event) => event.type), ['tokenRefreshed', 'tokenRefreshed']);
});

test('E43 after invalidate() a refresh that is answered with the same key opens a new session', async (t) => {
  const { tokens, broker } = bench(t);
  const { value, sessionId } = await tokens.requestToken();
  tokens.invalidate();
  broker.next(broker.token({ value, token: value, sessionId }));
  assert.notEqual((await tokens.requestToken()).value, value);
  assert.deepEqual(broker.paths, ['/token', '/refresh-token', '/token']);
});

test('forget() drops token, session and failure, and the next call opens a session with the new credential', async (t) => {
  let user = 'Sam';
  const { tokens, clock, broker, of } = bench(t, 600, { headers: () => ({ Authorization: `Bearer ${user}` }) });
  await tokens.requestToken();
  broker.next(broker.refuse(403, 'forbidden'));
  await outcome(tokens.refreshToken());
  user = 'Toni';
  tokens.forget();
  const { phase, token, error, attempt } = tokens.getSnapshot();
  assert.deepEqual([phase, token, error, attempt], ['idle', null, null, 0]);
  await clock.advance(20 * SECOND);
  assert.equal(broker.requests.length, 2);
  await tokens.requestToken();
  assert.deepEqual(broker.paths, ['/token', '/refresh-token', '/token']);
  assert.equal(broker.requests[2]?.headers.get('authorization'), 'Bearer Toni');
  assert.deepEqual(of('tokenRefreshed').map((event) => event.reason), ['initial', 'initial']);
  assert.equal(of('tokenExpired').length, 0);
  tokens.destroy();
  tokens.forget();
  assert.equal(tokens.getSnapshot().phase, 'destroyed');
});

test('forget() during a request: its answer is nobody\'s, and who waits gets the next user\'s token', async (t) => {
  for (const began of [true, false]) {
    let user = 'Sam';
    const { tokens, broker, told } = bench(t, 600, { headers: () => ({ Authorization: `Bearer ${user}` }) });
    let answer = (_: Response): void => {};
    if (began) broker.next(new Promise<Response>((resolve) => (answer = resolve)));
    const waiting = tokens.requestToken();
    if (began) await settle();
    user = 'Toni';
    tokens.forget();
    answer(broker.token({ value: 'ek_the_key_of_sam' }));
    assert.notEqual((await waiting).value, 'ek_the_key_of_sam');
    assert.equal(broker.requests.length, began ? 2 : 1);
    assert.equal(broker.requests.at(-1)?.headers.get('authorization'), 'Bearer Toni');
    assert.deepEqual(told.map((event) => event.type), ['tokenRefreshed']);
    assert.equal(tokens.getSnapshot().attempt, 0);
  }
});

test('a login that gives a new JWT at every call keeps its session, and another person does not get it', async (t) => {
  const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url');
  let [sub, nth] = ['sam¿', 0];
  const bearer = (): string => `Bearer ${part({ alg: 'ES256' })}.${part({ iss: 'https://id.example', sub, iat: nth++ })}.c2ln`;
  const { tokens, broker } = bench(t, 600, { headers: () => ({ authorization: bearer() }) });
  await tokens.requestToken();
  await tokens.refreshToken();
  await tokens.refreshToken();
  assert.deepEqual(broker.paths, ['/token', '/refresh-token', '/refresh-token']);
  sub = 'toni';
  await tokens.refreshToken();
  assert.equal(broker.paths.at(-1), '/token');
});

test('a session is never named with another Authorization than its own', async (t) => {
  let user = 'Sam';
  const { tokens, broker } = bench(t, 600, { headers: () => ({ authorization: `Bearer ${user}` }) });
  const first = await tokens.requestToken();
  await tokens.refreshToken();
  user = 'Toni';
  broker.lifetimeSeconds = 60;
  const second = await tokens.refreshToken();
  assert.notEqual(second, first);
  assert.equal(tokens.getCurrentToken(), second, 'though the key of the other user would live longer');
  await tokens.refreshToken();
  tokens.updateOptions({ headers: { Authorization: 'Bearer Sam' } });
  await tokens.refreshToken();
  assert.deepEqual(broker.paths, ['/token', '/refresh-token', '/token', '/refresh-token', '/token']);
  assert.deepEqual(broker.requests[3]?.body, { session_id: second.sessionId });
});

test('a function is a source, and what it throws decides whether it is asked again', async (t) => {
  const clock = createFakeClock();
  const reasons: string[] = [];
  const tokens = createTokenManager({
    clock,
    source: fromFunction(async ({ reason, attempt, previous }) => {
      reasons.push(`${reason} ${attempt} ${previous ? 'again' : 'first'}`);
      if (reasons.length === 1) throw new Error('busy');
      if (reasons.length === 3) throw new TokenError('unauthorized', 'no login');
      return { value: 'ek_from_a_function', expires_in: 60 };
    }),
  });
  t.after(() => tokens.destroy());
  const token = tokens.requestToken();
  await clock.advance(SECOND);
  assert.equal((await token).value, 'ek_from_a_function');
  assert.equal(((await outcome(tokens.refreshToken())) as TokenError).code, 'unauthorized');
  assert.deepEqual(reasons, ['initial 1 first', 'initial 2 first', 'forced 1 again']);
});

test('a function that fails is no network error: it is told as server_error with its cause', async (t) => {
  const clock = createFakeClock();
  const fault = new TypeError('x is not a function');
  const tokens = createTokenManager({ clock, source: fromFunction(() => Promise.reject(fault)) });
  t.after(() => tokens.destroy());
  const failed = outcome(tokens.requestToken());
  await clock.advance(5 * SECOND);
  const error = (await failed) as TokenError;
  assert.equal(error.code, 'server_error');
  assert.equal(error.cause, fault);
  assert.doesNotMatch(error.message + error.hint, /CORS/);
});

test('a bare text is taken to live for 60 s', async (t) => {
  const tokens = createTokenManager({ source: fromLiteral('ek_literal_secret'), logger: {} });
  t.after(() => tokens.destroy());
  assert.equal((await tokens.requestToken()).lifetimeMs, 60 * SECOND);
  assert.equal(((await outcome(tokens.refreshToken())) as TokenError).code, 'expired');
});
