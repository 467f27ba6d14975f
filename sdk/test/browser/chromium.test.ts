// Tests in Chromium without a call: CORS on two origins, page events, tabs, reloads and React.
import assert from 'node:assert/strict';
import { after, afterEach, before, test } from 'node:test';
import { startBroker } from '../broker.js';
import { Stage } from './stage.js';

let stage: Stage;
before(async () => {
  stage = await Stage.set();
});
after(() => stage?.strike());
afterEach(() => stage.clear());

test('E27 across origins a page reads status, Retry-After and request id of a refusal', async () => {
  const page = await stage.page();
  // A key of ten seconds is too old to be handed over again at once.
  const brief = await startBroker('session.token_seconds=10', 'session.min_refresh_interval=1s');
  const told = await page.evaluate(async (baseUrl) => {
    window.tokens.updateOptions({ baseUrl, maxRetryAfterMs: 0 });
    await window.tokens.requestToken();
    const error = await window.tokens.refreshToken().catch((error: unknown) => error as InstanceType<typeof window.lab.TokenError>);
    return 'code' in error && { code: error.code, broker: error.brokerCode, status: error.status, wait: error.retryAfterMs, id: error.requestId };
  }, brief.url);
  await brief.stop();
  assert.ok(told);
  assert.deepEqual([told.code, told.broker, told.status, told.wait], ['rate_limited', 'refresh_too_soon', 429, 1000]);
  assert.match(told.id ?? '', /^req_/);
});

test('E31 a refusal without CORS headers reads as network, with the hint', async () => {
  const page = await stage.page();
  const [code, hint] = await page.evaluate(async (baseUrl) => {
    window.tokens.updateOptions({ baseUrl, maxAttempts: 1 });
    return window.tokens.requestToken().then(() => [], (error: { code: string; hint: string }) => [error.code, error.hint]);
  }, stage.muteUrl);
  assert.equal(code, 'network');
  assert.match(hint ?? '', /CORS/);
});

test('E32 credentials travel across origins: 401 without, or with bad ones, and 200 with good ones', async (t) => {
  const strict = await startBroker('auth.mode=required');
  t.after(() => strict.stop());
  const [good] = await strict.people();
  const page = await stage.page();
  const statuses: number[] = [];
  page.on('response', (response) => {
    if (response.request().method() === 'POST' && response.url().startsWith(strict.url)) statuses.push(response.status());
  });
  const told = await page.evaluate(
    async ({ baseUrl, credentials }) => {
      const told: unknown[] = [];
      for (const Authorization of credentials) {
        const tokens = window.lab.createTokenManager({ baseUrl, ...(Authorization && { headers: async () => ({ Authorization }) }) });
        const got = await tokens.requestToken().catch((error: unknown) => error as InstanceType<typeof window.lab.TokenError>);
        told.push('code' in got ? [got.status, got.code, got.brokerCode] : got.masked.slice(0, 3));
        tokens.destroy();
      }
      return told;
    },
    { baseUrl: strict.url, credentials: ['', 'Bearer a.b.c', good] },
  );
  const refused = [401, 'unauthorized', 'unauthorized'];
  assert.deepEqual(told, [refused, refused, 'ek_']);
  assert.deepEqual(statuses, [401, 401, 200]);
});

test('E24 E25 offline is told as such, and coming online starts the next attempt at once', async () => {
  const page = await stage.page();
  await page.context().setOffline(true);
  const codes = page.evaluate(async () => {
    const first = await window.tokens.requestToken().catch((error: { code: string }) => error.code);
    window.tokens.updateOptions({ retryBaseMs: 60_000, retryMaxMs: 60_000 });
    const token = window.tokens.refreshToken();
    window.told.push('waiting');
    return [first, typeof (await token).value];
  });
  await page.waitForFunction(() => window.told.includes('waiting'));
  await page.waitForFunction(() => window.tokens.getSnapshot().phase === 'backoff');
  await page.context().setOffline(false);
  assert.deepEqual(await codes, ['offline', 'string']);
});

test('E26 a network that looks alive and is dead is told as network', async () => {
  const page = await stage.page();
  const code = await page.evaluate(() => {
    window.tokens.updateOptions({ baseUrl: 'http://127.0.0.1:1', maxAttempts: 2, retryBaseMs: 10 });
    return window.tokens.requestToken().then(() => '', (error: { code: string }) => error.code);
  });
  assert.equal(code, 'network');
  assert.equal(await page.evaluate(() => window.told.length), 2);
});

test('E09 E10 E11 a page that was hidden or cached past the end fetches as soon as it is seen', async () => {
  const page = await stage.page();
  const phases = await page.evaluate(async () => {
    let ahead = 0;
    const clock = {
      wall: () => Date.now() + ahead,
      monotonic: () => performance.now(),
      setTimeout: (run: () => void, ms: number) => setTimeout(run, ms),
      clearTimeout: (timer: unknown) => clearTimeout(timer as number),
    };
    window.tokens.updateOptions({ clock });
    const seen: unknown[] = [];
    const look = async (): Promise<void> => {
      await new Promise((resolve) => setTimeout(resolve, 1200));
      seen.push(window.tokens.getSnapshot().phase, window.told.filter((type) => type === 'tokenRefreshed').length);
    };
    await window.tokens.requestToken();
    window.lab.show(false);
    ahead += 20 * 60_000;
    window.dispatchEvent(new Event('focus'));
    await look();
    window.lab.show(true);
    await look();
    window.dispatchEvent(new PageTransitionEvent('pagehide', { persisted: true }));
    ahead += 20 * 60_000;
    window.dispatchEvent(new Event('focus'));
    await look();
    window.dispatchEvent(new PageTransitionEvent('pageshow', { persisted: true }));
    await look();
    return seen;
  });
  assert.deepEqual(phases, ['paused', 1, 'ready', 2, 'paused', 2, 'ready', 3]);
});

test('E70 two tabs hold two tokens and do not hear each other', async () => {
  const first = await stage.page();
  const second = await stage.page(first.context());
  const [a, b] = await Promise.all([first, second].map((page) => page.evaluate(async () => (await window.tokens.requestToken()).sessionId)));
  assert.ok(a && b && a !== b);
  await first.evaluate(() => window.tokens.destroy());
  assert.equal(await second.evaluate(() => window.tokens.getSnapshot().phase), 'ready');
  assert.deepEqual(await second.evaluate(() => window.told), ['tokenRefreshed']);
});

test('a reload takes up the session of the page before at once, and a second tab gets a session of its own', async () => {
  const page = await stage.page();
  const told: [path: string, status: number][] = [];
  page.context().on('response', (response) => {
    const path = new URL(response.url()).pathname;
    if (/token$/.test(path) && response.request().method() === 'POST') told.push([path, response.status()]);
  });
  const request = (): Promise<string | undefined> => page.evaluate(async () => (await window.tokens.requestToken()).sessionId);
  const open = (): Promise<void> =>
    page.evaluate((baseUrl) => {
      window.tokens = window.lab.createTokenManager({ baseUrl });
    }, stage.broker.url);
  const session = await request();
  assert.equal(await page.evaluate(() => sessionStorage.length), 0);
  await page.reload();
  assert.deepEqual(await page.evaluate(() => Object.values(sessionStorage)), [session], 'the handle and nothing else');
  await open();
  assert.equal(await request(), session);
  assert.equal(await page.evaluate(() => sessionStorage.length), 0);
  // A window that a page opens starts with a copy of its storage.
  const [other] = await Promise.all([page.waitForEvent('popup'), page.evaluate(() => void window.open(location.href))]);
  await other.waitForLoadState();
  assert.deepEqual(await other.evaluate(() => Object.values(sessionStorage)), []);
  assert.deepEqual(told, [['/token', 200], ['/refresh-token', 200]]);
});

test('E56 E57 E59 twenty components under StrictMode: one request, and a call outlives its key', async () => {
  const page = await stage.page();
  const complaints: string[] = [];
  page.on('console', (message) => message.type() === 'error' && complaints.push(message.text()));
  let posts = 0;
  page.on('request', (request) => void (request.url().startsWith(stage.broker.url) && posts++));
  await page.evaluate((url) => window.lab.mountAgent(window.tokens, url), stage.callsUrl);
  await page.getByText('Connect to Voice Agent').first().click();
  await page.getByText('Status: connected').waitFor();
  assert.equal(posts, 1);
  await page.evaluate(() => window.tokens.invalidate());
  await page.getByText('Key: – s').first().waitFor();
  assert.equal(await page.getByText('Status: connected').count(), 1);
  await page.getByRole('button', { name: 'Disconnect', exact: true }).click();
  await page.getByText('Status: connected').waitFor({ state: 'detached' });
  assert.deepEqual(complaints, []);
});
