// Tests failures of requests: E23 to E36.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { TokenError } from '@realtime-token-broker/client';
import { settle } from '@realtime-token-broker/client/testing';
import { bench, HOUR, MINUTE, outcome, SECOND } from '../setup.js';

const code = async (promise: Promise<unknown>): Promise<string> => ((await outcome(promise)) as { code: string }).code;

test('E23 no answer is a timeout after 10 s, and asked again', async (t) => {
  const { tokens, clock, broker, asked, of } = bench(t);
  broker.next(broker.hang());
  const token = tokens.requestToken();
  await clock.advance(9999);
  assert.equal(of('tokenError').length, 0);
  await clock.advance(SECOND);
  assert.ok((await token).value);
  assert.equal(of('tokenError')[0]?.error.code, 'timeout');
  assert.equal(broker.requests[0]?.signal?.aborted, true);
  assert.deepEqual(asked, [0, 10_375]);
});

test('E24 offline makes no request and fails as offline after the attempts', async (t) => {
  const { tokens, clock, page, broker, of } = bench(t);
  page.connect(false);
  const failed = code(tokens.requestToken());
  await clock.advance(5 * SECOND);
  assert.equal(await failed, 'offline');
  assert.equal(broker.requests.length, 0);
  assert.equal(of('tokenError').length, 3);
  page.connect(true);
  await settle();
  assert.equal(broker.requests.length, 1);
  assert.equal(of('tokenRefreshed')[0]?.reason, 'initial');
});

test('E25 coming online during a pause starts the next attempt at once', async (t) => {
  const { tokens, clock, page, asked } = bench(t, 600, { retryBaseMs: 8000 });
  page.connect(false);
  const token = tokens.requestToken();
  await clock.advance(100);
  assert.equal(tokens.getSnapshot().phase, 'backoff');
  page.connect(true);
  assert.ok((await token).value);
  assert.deepEqual(asked, [100]);
});

test('E25 coming online does not shorten a pause that the broker asked for', async (t) => {
  const { tokens, clock, page, broker, asked } = bench(t);
  broker.next(broker.refuse(429, 'rate_limited', 7));
  const token = tokens.requestToken();
  await clock.advance(SECOND);
  page.connect(true);
  await clock.advance(7 * SECOND);
  await token;
  assert.deepEqual(asked, [0, 7000]);
});

test('E26 a dead network that looks alive is a network error with growing pauses', async (t) => {
  const { tokens, clock, broker, asked, of } = bench(t);
  broker.next(new TypeError('Failed to fetch'), new TypeError('Failed to fetch'), new TypeError('Failed to fetch'));
  const failed = outcome(tokens.requestToken());
  await clock.advance(5 * SECOND);
  const error = (await failed) as TokenError;
  assert.equal(error.code, 'network');
  assert.match(error.hint, /CORS/);
  assert.ok(error.cause instanceof TypeError);
  assert.deepEqual(asked, [0, 375, 1125]);
  assert.equal(of('tokenError').length, 3);
});

test('E27 Retry-After is obeyed to the second, without chance', async (t) => {
  const { tokens, clock, broker, asked, of } = bench(t);
  broker.next(broker.refuse(429, 'rate_limited', 7));
  const token = tokens.requestToken();
  await clock.advance(6999);
  assert.equal(asked.length, 1);
  await clock.advance(1);
  assert.ok((await token).value);
  assert.deepEqual(asked, [0, 7000]);
  const [told] = of('tokenError');
  assert.equal(told?.error.retryAfterMs, 7000);
  assert.equal(told?.willRetry, true);
  assert.equal(told?.nextAttemptAt, clock.wall());
});

test('E27 retry_after in the body counts when a proxy has dropped the header', async (t) => {
  const { tokens, clock, broker, asked } = bench(t);
  broker.next(broker.refuse(429, 'rate_limited', undefined, { retry_after: 7 }));
  const token = tokens.requestToken();
  await clock.advance(7 * SECOND);
  await token;
  assert.deepEqual(asked, [0, 7000]);
});

test('E28 Retry-After as a date is measured on the clock of the server, or capped', async (t) => {
  for (const [withDate, wait] of [[true, 7000], [false, 60_000]] as const) {
    const { tokens, clock, broker, asked } = bench(t);
    const server = clock.wall();
    clock.setWall(-HOUR);
    const refusal = broker.refuse(429, 'rate_limited', new Date(server + 7000).toUTCString());
    if (withDate) refusal.headers.set('date', new Date(server).toUTCString());
    broker.next(refusal);
    const token = tokens.requestToken();
    await clock.advance(MINUTE);
    await token;
    assert.deepEqual(asked, [0, wait]);
  }
});

test('E27 E28 nobody can ask for no pause: Retry-After 0, an empty retry_after and a date in the past', async (t) => {
  const past = new Date(0).toUTCString();
  for (const [header, fields, wait] of [
    ['0', {}, 1000],
    ['0', { retry_after: 0 }, 1000],
    ['0', { retry_after: 7 }, 7000],
    ['-5', {}, 1000],
    ['0.2', {}, 1000],
    [past, {}, 1000],
    [undefined, { retry_after: null }, 375],
    [undefined, { retry_after: 0 }, 375],
    [undefined, { retry_after: -1 }, 375],
    [undefined, { retry_after: '' }, 375],
    [undefined, { retry_after: [] }, 375],
  ] as const) {
    const { tokens, clock, broker, asked } = bench(t);
    broker.next(broker.refuse(429, 'rate_limited', header, fields));
    const token = tokens.requestToken();
    await clock.advance(10 * SECOND);
    await token;
    assert.deepEqual(asked, [0, wait], `${header} ${JSON.stringify(fields)}`);
  }
  const bench2 = bench(t);
  const refusal = bench2.broker.refuse(429, 'rate_limited', past);
  refusal.headers.set('date', new Date(bench2.clock.wall()).toUTCString());
  bench2.broker.next(refusal);
  const token = bench2.tokens.requestToken();
  await bench2.clock.advance(10 * SECOND);
  await token;
  assert.deepEqual(bench2.asked, [0, 1000]);
});

test('E27 a broker that always says Retry-After 0, or a source that does, causes no loop of requests', async (t) => {
  const fault = { retryAfterMs: 0 };
  let called = 0;
  const source = async (): Promise<never> => {
    called++;
    throw new TokenError('rate_limited', 'at once', fault);
  };
  const own = bench(t, 600, { source });
  const other = bench(t);
  const first = await other.tokens.requestToken();
  other.broker.next(...Array.from({ length: 999 }, () => () => other.broker.refuse(429, 'rate_limited', 0, { retry_after: null })));
  await other.clock.advance(560 * SECOND);
  other.asked.length = 0;
  await other.clock.advance(30 * SECOND);
  assert.ok(other.asked.length > 3 && other.asked.length <= 30, `${other.asked.length} requests in 30 s`);
  assert.equal(await other.tokens.requestToken(), first);
  const failed = code(own.tokens.requestToken());
  await own.clock.advance(2 * SECOND);
  assert.equal(await failed, 'rate_limited');
  assert.equal(called, 3);
  assert.equal(await code(own.tokens.requestToken()), 'rate_limited');
  assert.equal(called, 3);
});

test('E29 a long Retry-After fails at once, and equal calls share the failure for a minute', async (t) => {
  const { tokens, clock, broker, asked } = bench(t);
  broker.next(broker.refuse(429, 'rate_limited', 600));
  const first = await outcome(tokens.requestToken());
  assert.equal((first as TokenError).retryAfterMs, 600_000);
  await clock.advance(59 * SECOND);
  assert.equal(await outcome(tokens.requestToken()), first);
  assert.equal(asked.length, 1);
  assert.ok((await tokens.refreshToken()).value);
  assert.equal(asked.length, 2);
});

test('E29 a quota that is spent for weeks is asked about again after a minute, behind the scenes never', async (t) => {
  const { tokens, clock, broker, asked } = bench(t);
  broker.next(broker.refuse(429, 'quota_exceeded', 14 * 24 * 3600));
  assert.equal(await code(tokens.requestToken()), 'quota_exceeded');
  await clock.advance(59_999);
  assert.equal(await code(tokens.requestToken()), 'quota_exceeded');
  assert.equal(asked.length, 1);
  await clock.advance(1);
  assert.equal(asked.length, 1);
  assert.ok((await tokens.requestToken()).value);
});

test('E29 a failure does not outlive its reason: invalidate(), updateOptions() and forget() end it', async (t) => {
  for (const end of ['invalidate', 'updateOptions', 'forget'] as const) {
    const { tokens, clock, broker, asked } = bench(t);
    broker.next(broker.refuse(429, 'quota_exceeded', 14 * 24 * 3600));
    assert.equal(await code(tokens.requestToken()), 'quota_exceeded');
    if (end === 'updateOptions') tokens.updateOptions({ headers: { Authorization: 'Bearer other' } });
    else tokens[end]();
    assert.equal(tokens.getSnapshot().error, null, end);
    await clock.advance(MINUTE);
    assert.equal(asked.length, 1, `${end} asks nobody by itself`);
    assert.ok((await tokens.requestToken()).value, end);
  }
});

test('E29 options that are set in every render cause no request by each', async (t) => {
  const { tokens, clock, broker, asked } = bench(t);
  await tokens.requestToken();
  broker.next(...Array.from({ length: 999 }, () => () => broker.refuse(403, 'forbidden')));
  tokens.on('stateChange', () => tokens.updateOptions({ headers: {} }));
  await clock.advance(599 * SECOND);
  assert.ok(asked.length > 1 && asked.length <= 10, `${asked.length} requests`);
});

test('E29 a failure without Retry-After is shared for 5 s', async (t) => {
  const { tokens, clock, broker, asked } = bench(t);
  broker.next(broker.refuse(403, 'origin_not_allowed'));
  await outcome(tokens.requestToken());
  await clock.advance(4999);
  assert.equal(await code(tokens.requestToken()), 'forbidden');
  assert.equal(asked.length, 1);
  await clock.advance(1);
  assert.ok((await tokens.requestToken()).value);
});

test('E30 E32 the golden refusals of the broker are read to the last field', async (t) => {
  for (const [name, status, told] of [
    ['unauthorized', 401, { code: 'unauthorized', retryable: false, limit: undefined, retryAfterMs: undefined }],
    ['quota-exceeded', 429, { code: 'quota_exceeded', retryable: false, limit: 'sessions_per_month', retryAfterMs: 31 * 24 * HOUR }],
  ] as const) {
    const text = readFileSync(new URL(`../../../../tests/contract/${name}.json`, import.meta.url), 'utf8');
    const { error: golden } = JSON.parse(text) as { error: { code: string; message: string; request_id: string } };
    const { tokens, broker } = bench(t);
    // Without headers: what a page reads when a proxy has dropped them.
    broker.next(new Response(text, { status, headers: { 'content-type': 'application/json' } }));
    const error = (await outcome(tokens.requestToken())) as TokenError;
    const { code, retryable, limit, retryAfterMs } = error;
    assert.deepEqual({ code, retryable, limit, retryAfterMs }, told);
    assert.deepEqual([error.status, error.brokerCode, error.message, error.requestId], [status, golden.code, golden.message, golden.request_id]);
    assert.ok(error.hint.length > 5);
    assert.equal(broker.requests.length, 1);
  }
});

test('E30 a spent quota is not tried again, whoever says so', async (t) => {
  for (const spent of ['insufficient_quota', 'quota_exceeded']) {
    const { tokens, broker } = bench(t);
    broker.next(broker.refuse(429, spent, 3600, { limit: 'monthly_cost' }));
    const error = (await outcome(tokens.requestToken())) as TokenError;
    assert.equal(error.code, 'quota_exceeded');
    assert.equal(error.limit, 'monthly_cost');
    assert.equal(error.retryAfterMs, 3_600_000);
    assert.equal(broker.requests.length, 1);
  }
});

test('E32 refusals that a repetition cannot change are asked once', async (t) => {
  for (const [status, brokerCode, expected] of [
    [400, 'bad_request', 'bad_request'],
    [401, 'unauthorized', 'unauthorized'],
    [403, 'origin_not_allowed', 'forbidden'],
    [403, 'forbidden', 'forbidden'],
    [404, 'not_found', 'not_found'],
    [422, 'unknown_persona', 'bad_request'],
  ] as const) {
    const { tokens, broker, of } = bench(t);
    broker.next(broker.refuse(status, brokerCode, undefined, { param: 'persona' }));
    const error = (await outcome(tokens.requestToken())) as TokenError;
    assert.equal(error.code, expected);
    assert.equal(error.brokerCode, brokerCode);
    assert.equal(error.param, 'persona');
    assert.equal(error.requestId, 'req_fake');
    assert.equal(broker.requests.length, 1);
    assert.equal(of('tokenError')[0]?.willRetry, false);
  }
});

test('E32 a refusal behind the scenes ends refreshing until the page is used again: its user may have signed in', async (t) => {
  for (const [status, brokerCode, requests] of [[401, 'unauthorized', 2], [403, 'forbidden', 1]] as const) {
    for (const wake of ['focus', 'visibilitychange', 'pageshow', 'online']) {
      for (const late of [20, 60]) {
        const { tokens, clock, broker, page, of } = bench(t, 600);
        await tokens.requestToken();
        // A refresh that is refused with 401 asks for a new session at once.
        broker.next(...Array.from({ length: requests }, () => () => broker.refuse(status, brokerCode)));
        await clock.advance(570 * SECOND);
        assert.equal(of('tokenError').length, 1);
        page.fire(wake);
        await clock.advance(4 * SECOND);
        assert.equal(of('tokenError').length, 1, 'not at once');
        const before = broker.requests.length;
        await clock.advance(late * SECOND);
        assert.equal(broker.requests.length, before, 'not by itself');
        page.fire(wake);
        await clock.advance(0);
        assert.equal(of('tokenRefreshed').length, 2, `${status}, ${wake}, ${late}`);
        assert.equal(tokens.isTokenValid(), true);
      }
    }
  }
});

test('E29 a page that is used again does not ask before Retry-After has passed', async (t) => {
  const { tokens, clock, broker, page, asked } = bench(t);
  broker.next(broker.refuse(429, 'quota_exceeded', 3600));
  assert.equal(await code(tokens.requestToken()), 'quota_exceeded');
  await clock.advance(10 * MINUTE);
  page.fire('focus');
  page.fire('online');
  await clock.advance(MINUTE);
  assert.equal(asked.length, 1);
});

test('E32 every 503 of the broker may be tried again', async (t) => {
  for (const brokerCode of ['upstream_unavailable', 'overloaded', 'ledger_unavailable', 'auth_unavailable', 'shutting_down']) {
    const { tokens, clock, broker, of } = bench(t);
    broker.next(broker.refuse(503, brokerCode, 1));
    const token = tokens.requestToken();
    await clock.advance(SECOND);
    assert.ok((await token).value);
    assert.equal(of('tokenError')[0]?.error.code, 'upstream_unavailable');
    assert.equal(of('tokenError')[0]?.error.brokerCode, brokerCode);
  }
});

test('E33 three times 503 is three requests, and willRetry is true, true, false', async (t) => {
  const { tokens, clock, broker, of } = bench(t);
  broker.next(...[1, 2, 3].map(() => broker.refuse(503, 'upstream_unavailable')));
  const failed = code(tokens.requestToken());
  await clock.advance(5 * SECOND);
  assert.equal(await failed, 'upstream_unavailable');
  assert.equal(broker.requests.length, 3);
  assert.deepEqual(of('tokenError').map((event) => event.willRetry), [true, true, false]);
  assert.deepEqual(of('tokenError').map((event) => event.attempt), [1, 2, 3]);
  assert.equal(tokens.getSnapshot().phase, 'failed');
});

test('E33 maxRetryAttempts, the name of the original clients, counts all requests', async (t) => {
  const { tokens, clock, broker } = bench(t, 600, { maxRetryAttempts: 2 });
  broker.next(...[1, 2, 3].map(() => broker.refuse(500, 'internal')));
  const failed = code(tokens.requestToken());
  await clock.advance(5 * SECOND);
  assert.equal(await failed, 'server_error');
  assert.equal(broker.requests.length, 2);
});

test('E34 a 500 and then success is one error and one token', async (t) => {
  const { tokens, clock, broker, told } = bench(t);
  broker.next(broker.refuse(500, 'internal'));
  const token = tokens.requestToken();
  await clock.advance(SECOND);
  await token;
  assert.deepEqual(told.map((event) => event.type), ['tokenError', 'tokenRefreshed']);
  assert.equal(tokens.getSnapshot().error, null);
});

test('E35 when all refreshes fail the old token serves until its end, which is told once', async (t) => {
  const { tokens, clock, broker, told, of } = bench(t);
  const first = await tokens.requestToken();
  broker.next(...Array.from({ length: 60 }, () => () => broker.refuse(503, 'upstream_unavailable')));
  await clock.advance(599 * SECOND);
  assert.equal(await tokens.requestToken(), first);
  assert.equal(await tokens.getApiKey(), first.value);
  assert.ok(of('tokenError').length > 3, 'goes on while the old one lives');
  assert.equal(of('tokenExpired').length, 0);
  await clock.advance(30 * SECOND);
  const [expired] = of('tokenExpired');
  assert.equal(of('tokenExpired').length, 1);
  assert.equal(expired?.at, 600 * SECOND);
  assert.equal(expired?.cause, 'refresh-failed');
  const before = told.length;
  await clock.advance(HOUR);
  assert.equal(told.length, before, 'afterwards only on demand');
});

test('E35 a token that ended while its refreshes failed is told so, also by the page that comes online', async (t) => {
  for (const wake of ['online', 'focus']) {
    const { tokens, clock, broker, page, of } = bench(t);
    await tokens.requestToken();
    broker.next(...Array.from({ length: 3 }, () => new TypeError('Failed to fetch')));
    await clock.advance(572 * SECOND);
    assert.equal(of('tokenError').at(-1)?.willRetry, false);
    assert.equal(tokens.getSnapshot().phase, 'ready');
    // No timer runs meanwhile, so that the event is the first to see the end.
    clock.sleep(MINUTE);
    page.fire(wake);
    assert.deepEqual(of('tokenExpired').map((event) => event.cause), ['refresh-failed'], wake);
    await clock.advance(0);
    assert.equal(tokens.isTokenValid(), true);
  }
});

test('E35 a caller who says how long the token must live is not given a shorter one', async (t) => {
  const { tokens, clock, broker } = bench(t, 600, { autoRefresh: false });
  await tokens.requestToken();
  await clock.advance(590 * SECOND);
  broker.next(broker.refuse(403, 'forbidden'));
  assert.equal(await code(tokens.requestToken({ minValidityMs: 20_000 })), 'forbidden');
});

test('E36 a refresh of a session that is gone opens a new one in the same attempt', async (t) => {
  for (const [status, gone] of [[404, 'unknown_session'], [410, 'gone'], [401, 'unauthorized'], [429, 'refresh_limit_reached']] as const) {
    const { tokens, broker, told } = bench(t);
    await tokens.requestToken();
    broker.next(broker.refuse(status, gone, status === 429 ? 1 : undefined));
    const token = await tokens.refreshToken();
    assert.deepEqual(broker.paths, ['/token', '/refresh-token', '/token']);
    assert.deepEqual(told.map((event) => event.type), ['tokenRefreshed', 'tokenRefreshed']);
    await tokens.refreshToken();
    assert.deepEqual(broker.requests[3]?.body, { session_id: token.sessionId });
  }
});

test('E36 a refresh that came too soon waits as it is told', async (t) => {
  const { tokens, clock, broker } = bench(t);
  await tokens.requestToken();
  broker.next(broker.refuse(429, 'refresh_too_soon', 10));
  const token = tokens.refreshToken();
  await clock.advance(10 * SECOND);
  await token;
  assert.deepEqual(broker.paths, ['/token', '/refresh-token', '/refresh-token']);
});
