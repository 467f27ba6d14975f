// Tests time: E01 to E15.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { bench, HOUR, MINUTE, SECOND } from '../setup.js';

const DAY = 24 * HOUR;

test('E01 a token of 600 s is refreshed once, 30 to 33 s before its end, under its session', async (t) => {
  const { tokens, clock, broker, asked, of } = bench(t);
  const first = await tokens.requestToken();
  await clock.advance(599 * SECOND);
  assert.deepEqual(broker.paths, ['/token', '/refresh-token']);
  assert.deepEqual(broker.requests[1]?.body, { session_id: first.sessionId });
  const before = 600 * SECOND - (asked[1] ?? 0);
  assert.ok(before >= 30 * SECOND && before <= 33 * SECOND, `${before} ms before the end`);
  assert.deepEqual(of('tokenRefreshed').map((event) => event.reason), ['initial', 'scheduled']);
  assert.equal(of('tokenExpired').length, 0);
});

test('E01 chance spreads the refresh over the tenth before the threshold', async (t) => {
  for (const [random, at] of [[0, 570_000], [1, 567_000]] as const) {
    const { tokens, clock, asked } = bench(t, 600, { random: () => random });
    await tokens.requestToken();
    await clock.advance(599 * SECOND);
    assert.equal(asked[1], at);
  }
});

test('E02 a threshold longer than the life means half of the life, and no loop', async (t) => {
  const { tokens, clock, asked } = bench(t, 20);
  await tokens.requestToken();
  await clock.advance(60 * SECOND);
  assert.deepEqual(asked, [0, 10_000, 20_000, 30_000, 40_000, 50_000, 60_000]);
});

test('E02 the moment of a refresh is half of a life of 20 s, whatever the threshold', async (t) => {
  const { tokens, clock } = bench(t, 20);
  const start = clock.wall();
  await tokens.requestToken();
  assert.equal(tokens.getSnapshot().refreshAt, start + 10 * SECOND);
});

test('E03 a token of 10 s is refreshed every 5 s and never faster', async (t) => {
  const { tokens, clock, asked } = bench(t, 10);
  await tokens.requestToken();
  await clock.advance(MINUTE);
  assert.equal(asked.length, 13);
  for (let n = 1; n < asked.length; n++) assert.equal((asked[n] ?? 0) - (asked[n - 1] ?? 0), 5000);
});

test('E03 a token shorter than the floor between two mints does not loop either', async (t) => {
  const { tokens, clock, asked } = bench(t, 2);
  await tokens.requestToken();
  await clock.advance(20 * SECOND);
  assert.deepEqual(asked, [0, 5000, 10_000, 15_000, 20_000]);
});

test('E04 a device clock that is wrong by an hour or a day changes nothing', async (t) => {
  for (const skew of [-HOUR, HOUR, 25 * HOUR]) {
    const { tokens, clock, asked } = bench(t);
    clock.setWall(skew);
    const token = await tokens.requestToken();
    assert.equal(token.expiresAt, clock.wall() + 600 * SECOND);
    await clock.advance(599 * SECOND);
    assert.deepEqual(asked, [0, 568_500], `skew ${skew}`);
  }
});

test('E05 a fast clock without expires_in costs one mint in 30 s and one warning', async (t) => {
  const { tokens, clock, broker, asked, warnings } = bench(t);
  clock.setWall(HOUR);
  broker.next(...Array.from({ length: 30 }, () => () => broker.token({ expiresIn: undefined })));
  await tokens.requestToken();
  await clock.advance(5 * MINUTE);
  assert.equal(asked.length, 11);
  for (let n = 1; n < asked.length; n++) assert.ok((asked[n] ?? 0) - (asked[n - 1] ?? 0) >= 30 * SECOND);
  assert.equal(warnings.length, 1);
});

test('E05 the Date header makes up for a missing expires_in on any clock', async (t) => {
  const { tokens, clock, broker, warnings } = bench(t);
  clock.setWall(HOUR);
  broker.next(() => {
    const answer = broker.token({ expiresIn: undefined });
    answer.headers.set('date', new Date(clock.wall() - HOUR).toUTCString());
    return answer;
  });
  const token = await tokens.requestToken();
  assert.equal(token.lifetimeMs, 600 * SECOND);
  assert.equal(warnings.length, 0);
});

test('E05 a clock that is set while a key is fetched is no latency', async (t) => {
  const { tokens, clock, broker, of } = bench(t);
  broker.next(() => {
    clock.setWall(HOUR);
    return broker.token();
  });
  await tokens.requestToken();
  assert.equal(of('tokenRefreshed')[0]?.latencyMs, 0);
});

test('E06 a clock set back by an hour does not prolong a token', async (t) => {
  const { tokens, clock, of } = bench(t, 600, { autoRefresh: false });
  await tokens.requestToken();
  clock.setWall(-HOUR);
  await clock.advance(599 * SECOND);
  assert.equal(tokens.isTokenValid(), true);
  assert.equal(of('tokenExpired').length, 0);
  await clock.advance(SECOND);
  assert.equal(tokens.isTokenValid(), false);
  assert.equal(of('tokenExpired').length, 1);
});

test('E07 a clock set forward by an hour costs one early mint', async (t) => {
  const { tokens, clock, asked } = bench(t);
  await tokens.requestToken();
  await clock.advance(MINUTE);
  clock.setWall(HOUR);
  await clock.advance(15 * SECOND);
  assert.equal(asked.length, 2);
  await clock.advance(560 * SECOND);
  assert.equal(asked.length, 2);
  await clock.advance(15 * SECOND);
  assert.equal(asked.length, 3);
});

test('E08 after sleep a call fetches before it returns', async (t) => {
  const { tokens, clock, broker } = bench(t);
  const first = await tokens.requestToken();
  clock.sleep(HOUR);
  const second = await tokens.requestToken();
  assert.notEqual(second.value, first.value);
  assert.equal(broker.requests.length, 2);
});

test('E09 after sleep the page becoming visible is enough to fetch at once', async (t) => {
  const { tokens, clock, page, asked, of } = bench(t);
  await tokens.requestToken();
  clock.sleep(8 * HOUR);
  page.fire('visibilitychange');
  await clock.advance(0);
  assert.equal(asked.length, 2);
  assert.equal(of('tokenExpired').length, 1);
  assert.ok((of('tokenExpired')[0]?.lateByMs ?? 0) > 7 * HOUR);
  assert.equal(of('tokenRefreshed')[1]?.reason, 'resume');
});

test('E10 a page in the back-forward cache fetches nothing, and looks when it is shown', async (t) => {
  const { tokens, clock, page, asked } = bench(t);
  await tokens.requestToken();
  page.fire('pagehide');
  await clock.advance(20 * MINUTE);
  assert.equal(asked.length, 1);
  page.fire('pageshow');
  await clock.advance(0);
  assert.equal(asked.length, 2);
});

test('E11 a hidden page that nothing holds is paused and lets its token end', async (t) => {
  const { tokens, clock, page, asked, of } = bench(t);
  await tokens.requestToken();
  page.show(false);
  assert.equal(tokens.getSnapshot().phase, 'paused');
  await clock.advance(20 * MINUTE);
  assert.equal(asked.length, 1);
  assert.equal(tokens.getSnapshot().phase, 'paused');
  assert.equal(tokens.getSnapshot().token, null);
  assert.deepEqual(of('tokenExpired').map((event) => event.cause), ['paused']);
  page.show(true);
  await clock.advance(0);
  assert.equal(asked.length, 2);
  assert.equal(tokens.getSnapshot().phase, 'ready');
});

test('E11 pause() and resume() do the same by hand, and calls are still served', async (t) => {
  const { tokens, clock, asked } = bench(t);
  await tokens.requestToken();
  tokens.pause();
  await clock.advance(20 * MINUTE);
  assert.equal(asked.length, 1);
  await tokens.requestToken();
  assert.equal(asked.length, 2);
  tokens.resume();
  await clock.advance(590 * SECOND);
  assert.equal(asked.length, 3);
});

test('E12 a hold keeps a hidden page fresh until it is released', async (t) => {
  const { tokens, clock, page, asked, of } = bench(t);
  await tokens.requestToken();
  page.show(false);
  const hold = tokens.hold();
  await clock.advance(20 * MINUTE);
  assert.equal(asked.length, 3);
  assert.equal(of('tokenExpired').length, 0);
  hold.release();
  hold.release();
  await clock.advance(20 * MINUTE);
  assert.equal(asked.length, 3);
});

test('E12 whenHidden continue goes on without a hold', async (t) => {
  const { tokens, clock, page, asked } = bench(t, 600, { whenHidden: 'continue' });
  await tokens.requestToken();
  page.show(false);
  await clock.advance(599 * SECOND);
  assert.equal(asked.length, 2);
});

test('E13 timers throttled to one a minute still refresh before the end, at most a minute off', async (t) => {
  for (const phase of [0, 1, 15, 29, 31, 44, 59]) {
    for (const life of [180, 600]) {
      const { tokens, clock, page, asked, of } = bench(t, life, { whenHidden: 'continue' });
      await clock.advance(phase * SECOND);
      clock.throttleMs = MINUTE;
      page.show(false);
      await tokens.requestToken();
      await clock.advance(life * SECOND + MINUTE);
      const target = (phase + life - 31.5) * SECOND;
      assert.ok(asked.length >= 2 && Math.abs((asked[1] ?? 0) - target) <= MINUTE, `${phase}, ${life}: ${asked}`);
      assert.equal(of('tokenExpired').length, 0, `phase ${phase}, life ${life}`);
    }
  }
});

test('E14 an idle page stops fetching after the budget, and the next call fetches', async (t) => {
  const { tokens, clock, asked, of } = bench(t);
  await tokens.requestToken();
  await clock.advance(4 * HOUR);
  const behind = asked.length - 1;
  assert.ok(behind >= 2 && behind <= 4, `${behind} mints behind the scenes`);
  assert.deepEqual(of('tokenExpired').map((event) => event.cause), ['idle']);
  assert.equal(tokens.getSnapshot().phase, 'expired');
  await tokens.requestToken();
  assert.equal(asked.length, behind + 2);
});

test('E14 a call begins the budget anew', async (t) => {
  const { tokens, clock, of } = bench(t);
  await tokens.requestToken();
  await clock.advance(25 * MINUTE);
  await tokens.requestToken();
  await clock.advance(25 * MINUTE);
  assert.equal(tokens.isTokenValid(), true);
  assert.notEqual(tokens.getSnapshot().refreshAt, null);
  assert.equal(of('tokenExpired').length, 0);
});

test('E14 an infinite budget refreshes for ever', async (t) => {
  const { tokens, clock, asked } = bench(t, 600, { maxIdleMs: Infinity });
  await tokens.requestToken();
  await clock.advance(4 * HOUR);
  assert.ok(asked.length >= 24);
});

test('E14 enableAutoRefresh false fetches only on demand', async (t) => {
  const { tokens, clock, asked, of } = bench(t, 600, { enableAutoRefresh: false });
  await tokens.requestToken();
  await clock.advance(HOUR);
  assert.equal(asked.length, 1);
  assert.deepEqual(of('tokenExpired').map((event) => event.cause), ['disabled']);
});

test('E15 a life beyond 24.8 days overflows no timer', async (t) => {
  const { tokens, clock, asked } = bench(t, (40 * DAY) / SECOND, { maxIdleMs: Infinity });
  await tokens.requestToken();
  await clock.advance(HOUR);
  assert.equal(asked.length, 1);
  assert.ok(tokens.getTimeUntilExpiration() > 39 * DAY);
});

test('refresh_in from the server decides when, within half of the life', async (t) => {
  for (const [wish, at] of [[400, 400_000], [10, 300_000], [5000, 599_000]] as const) {
    const { tokens, clock, broker, asked } = bench(t);
    broker.next(broker.token({ refresh_in: wish }));
    await tokens.requestToken();
    await clock.advance(599 * SECOND);
    assert.equal(asked[1], at);
  }
});
