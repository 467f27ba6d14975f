// Tests the life of a manager: E45 to E54, E60 without a browser, E68 and E69.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { inspect } from 'node:util';
import {
  createTokenManager,
  destroyTokenManager,
  getTokenManager,
  TokenError,
  type TokenManagerOptions,
  withFreshKey,
} from '@realtime-token-broker/client';
import { settle } from '@realtime-token-broker/client/testing';
import { bench, outcome, SECOND } from '../setup.js';

const code = async (promise: Promise<unknown>): Promise<string> => ((await outcome(promise)) as { code: string }).code;
const DIST = fileURLToPath(new URL('../../../dist/', import.meta.url));

test('E45 destroy() during a request rejects the callers and nothing happens afterwards', async (t) => {
  const { tokens, clock, broker, page, told } = bench(t);
  let answer = (_: Response): void => {};
  broker.next(new Promise<Response>((resolve) => (answer = resolve)));
  const waiting = code(tokens.requestToken());
  const other = code(tokens.requestToken({ signal: new AbortController().signal }));
  await settle();
  tokens.destroy();
  answer(broker.token());
  assert.equal(await waiting, 'destroyed');
  assert.equal(await other, 'destroyed');
  await clock.advance(60 * SECOND);
  assert.deepEqual(told, []);
  assert.equal(clock.timers, 0);
  assert.equal(page.listeners, 0);
  assert.equal(broker.requests.length, 1);
});

test('E45 destroy() in any moment between the answer and its arrival keeps nothing', async (t) => {
  for (let moment = 0; moment < 15; moment++) {
    const { tokens, clock, broker, told } = bench(t, 600, {
      source: async () => {
        void (async () => {
          for (let turn = 0; turn < moment; turn++) await null;
          tokens.destroy();
        })();
        return { value: 'ek_came_too_late', expires_in: 600 };
      },
    });
    await outcome(tokens.requestToken());
    await clock.advance(SECOND);
    assert.equal(tokens.getCurrentToken(), null, `after ${moment} turns`);
    assert.equal(clock.timers, 0);
    assert.equal(broker.requests.length, 0);
    assert.ok(told.length <= 1);
    assert.equal(tokens.getSnapshot().phase, 'destroyed');
  }
});

test('E46 destroy() twice is once, and every method afterwards is harmless or says destroyed', async (t) => {
  const { tokens, clock, broker, page } = bench(t);
  await tokens.requestToken();
  tokens.destroy();
  tokens.destroy();
  assert.equal(await code(tokens.requestToken()), 'destroyed');
  assert.equal(await code(tokens.refreshToken()), 'destroyed');
  assert.equal(await code(tokens.getApiKey()), 'destroyed');
  assert.equal(tokens.getCurrentToken(), null);
  assert.equal(tokens.isTokenValid(), false);
  assert.equal(tokens.getTimeUntilExpiration(), 0);
  assert.equal(tokens.getSnapshot().phase, 'destroyed');
  tokens.invalidate();
  tokens.pause();
  tokens.resume();
  tokens.updateOptions({ maxAttempts: 1 });
  tokens.hold().release();
  tokens.subscribe(() => {})();
  let heard = 0;
  tokens.on('stateChange', () => heard++);
  assert.equal(tokens.getSnapshot().phase, 'destroyed');
  tokens.destroy();
  await clock.advance(SECOND);
  assert.equal(heard, 0);
  assert.equal(broker.requests.length, 1);
  assert.equal(clock.timers, 0);
  assert.equal(page.listeners, 0);
});

test('E46 a manager that was never used listens to nothing after destroy()', (t) => {
  const { tokens, page } = bench(t);
  tokens.destroy();
  tokens.subscribe(() => {})();
  assert.equal(page.listeners, 0);
});

test('E47 getTokenManager() shares one manager by name, and makes a new one after destroy()', (t) => {
  t.after(() => destroyTokenManager());
  const first = getTokenManager({ baseUrl: '/' });
  assert.equal(getTokenManager({ baseUrl: '/' }), first);
  assert.notEqual(getTokenManager({ key: 'other', baseUrl: '/' }), first);
  first.destroy();
  const second = getTokenManager({ baseUrl: '/' });
  assert.notEqual(second, first);
  assert.equal(second.getSnapshot().phase, 'idle');
  destroyTokenManager();
  assert.equal(second.getSnapshot().phase, 'destroyed');
  destroyTokenManager('other');
});

test('E48 getTokenManager() with other options keeps the manager and warns once', (t) => {
  const warnings: string[] = [];
  const options: TokenManagerOptions = { baseUrl: 'https://a.test', logger: { warn: (message) => warnings.push(message) } };
  const first = getTokenManager({ key: 'E48', ...options });
  t.after(() => destroyTokenManager('E48'));
  getTokenManager({ key: 'E48' });
  getTokenManager({ key: 'E48', baseUrl: 'https://a.test', headers: () => ({}) });
  assert.deepEqual(warnings, []);
  assert.equal(getTokenManager({ key: 'E48', baseUrl: 'https://b.test' }), first);
  getTokenManager({ key: 'E48', baseUrl: 'https://c.test' });
  assert.equal(warnings.length, 1);
});

test('E48 an option that says undefined is the default', async (t) => {
  const undefinedOptions = {
    timeoutMs: undefined,
    maxAttempts: undefined,
    refreshThresholdSeconds: undefined,
    whenHidden: undefined,
    source: undefined,
    maxIdleMs: undefined,
    autoRefresh: undefined,
  } as unknown as TokenManagerOptions;
  const { tokens, clock, broker, asked } = bench(t, 600, undefinedOptions);
  tokens.updateOptions({ retryBaseMs: undefined, logger: undefined } as unknown as TokenManagerOptions);
  broker.next(broker.refuse(503, 'overloaded'), broker.hang());
  const token = tokens.requestToken();
  await clock.advance(20 * SECOND);
  assert.ok((await token).value);
  assert.deepEqual(asked, [0, 375, 11_125]);
  await clock.advance(600 * SECOND);
  assert.equal(asked.length, 4);
  const warnings: string[] = [];
  getTokenManager({ key: 'undefined', baseUrl: '/', logger: { warn: (message) => warnings.push(message) } });
  t.after(() => destroyTokenManager('undefined'));
  getTokenManager({ key: 'undefined', baseUrl: '/', ...undefinedOptions });
  assert.deepEqual(warnings, []);
});

test('E58 when the last observer has left, a call wakes the refreshing behind the scenes', async (t) => {
  for (const late of [true, false]) {
    const { tokens, clock, asked } = bench(t, 60);
    const leave = tokens.subscribe(() => {});
    await tokens.requestToken();
    leave();
    if (late) {
      await clock.advance(SECOND);
      assert.equal(tokens.getSnapshot().phase, 'paused');
    }
    await tokens.requestToken();
    assert.equal(tokens.getSnapshot().phase, 'ready');
    assert.equal(asked.length, 1);
    await clock.advance(300 * SECOND);
    assert.ok(asked.length > 5, `${asked.length} requests`);
    assert.equal(tokens.isTokenValid(), true);
  }
});

test('E49 a listener that throws is reported and stops nobody else', async (t) => {
  const { tokens } = bench(t);
  const heard: string[] = [];
  const reported: unknown[] = [];
  Object.assign(globalThis, { reportError: (error: unknown) => reported.push(error) });
  t.after(() => Reflect.deleteProperty(globalThis, 'reportError'));
  const fault = new Error('a fault in a listener');
  tokens.on('tokenRefreshed', () => heard.push('first'));
  tokens.on('tokenRefreshed', () => {
    throw fault;
  });
  tokens.on('tokenRefreshed', () => heard.push('last'));
  assert.ok((await tokens.requestToken()).value);
  assert.deepEqual(heard, ['first', 'last']);
  assert.deepEqual(reported, [fault]);
});

test('E50 a listener may call back: no deadlock, and nothing is told twice', async (t) => {
  const { tokens, broker, told } = bench(t);
  let inside: Promise<unknown> | undefined;
  tokens.on('tokenRefreshed', () => (inside = tokens.requestToken()), { once: true });
  const token = await tokens.requestToken();
  assert.equal(await inside, token);
  assert.equal(broker.requests.length, 1);
  assert.equal(told.length, 1);
  let afterwards = 0;
  tokens.on('tokenRefreshed', () => tokens.destroy());
  tokens.on('tokenRefreshed', () => afterwards++);
  await outcome(tokens.refreshToken());
  assert.equal(tokens.getSnapshot().phase, 'destroyed');
  assert.equal(afterwards, 0);
});

test('E51 once, off, the returned function and a signal all remove a listener', async (t) => {
  const { tokens, broker } = bench(t);
  const heard: string[] = [];
  const controller = new AbortController();
  const removed = (): unknown => heard.push('off');
  tokens.on('tokenRefreshed', () => heard.push('once'), { once: true });
  tokens.on('tokenRefreshed', () => heard.push('signal'), { signal: controller.signal });
  tokens.on('tokenRefreshed', removed);
  const off = tokens.on('tokenRefreshed', () => heard.push('returned'));
  tokens.on('tokenRefreshed', () => heard.push('never'), { signal: AbortSignal.abort() });
  await tokens.requestToken();
  assert.deepEqual(heard, ['once', 'signal', 'off', 'returned']);
  controller.abort();
  tokens.off('tokenRefreshed', removed);
  off();
  await tokens.refreshToken();
  assert.equal(heard.length, 4);
  assert.equal(broker.requests.length, 2);
});

test('E51 a thousand listeners leave nothing behind on the signal they share', (t) => {
  const { tokens } = bench(t);
  const { signal } = new AbortController();
  let registered = 0;
  const add = signal.addEventListener.bind(signal);
  const remove = signal.removeEventListener.bind(signal);
  signal.addEventListener = (...args: Parameters<typeof add>): void => void (registered++, add(...args));
  signal.removeEventListener = (...args: Parameters<typeof remove>): void => void (registered--, remove(...args));
  for (let n = 0; n < 1000; n++) tokens.on('stateChange', () => {}, { signal })();
  assert.equal(registered, 0);
});

test('E52 the secret is in no JSON, text or inspection', async (t) => {
  const messages: string[] = [];
  const { tokens, broker } = bench(t, 600, { logger: { warn: (message) => messages.push(message) } });
  const token = await tokens.requestToken();
  const secret = token.value;
  const session = token.sessionId ?? '';
  broker.next(broker.refuse(403, 'forbidden'));
  const error = await outcome(tokens.refreshToken());
  for (const shown of [token, error, tokens.getSnapshot(), tokens, new Error('outer', { cause: error })]) {
    const text = [JSON.stringify(shown), `${inspect(shown, { showHidden: true, depth: 9 })}`, `${String(shown)}`].join();
    assert.ok(!text.includes(secret) && !text.includes(session), text);
  }
  assert.equal(`${token}`, token.masked);
  assert.ok(token.masked.startsWith('ek_') && token.masked.length < 10);
  broker.lifetimeSeconds = 60;
  await tokens.refreshToken();
  assert.equal(messages.length, 1);
  assert.ok(!/ek_|rts_/.test(messages.join()));
  broker.next(broker.token({ value: 'ek_short', token: undefined }));
  tokens.invalidate();
  const short = await tokens.requestToken({ force: true });
  assert.equal(short.value, 'ek_short');
  assert.equal(short.masked, '…');
});

test('E53 the build knows no storage but the tab\'s in the one module that keeps handles, and no unload', () => {
  const files = readdirSync(DIST, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.js'));
  assert.ok(files.length > 10);
  for (const name of files) {
    const code = readFileSync(DIST + name, 'utf8').replace(/\/\*[^]*?\*\/|\/\/.*/g, '');
    const allowed = name === 'handles.js' || name === 'testing/fake-page.js';
    const found = code.match(/localStorage|sessionStorage|indexedDB|document\.cookie|unload|BroadcastChannel/g) ?? [];
    assert.deepEqual(found.filter((word) => !allowed || word !== 'sessionStorage'), [], name);
  }
});

test('E54 importing every entry without a page leaves no timer and no listener', () => {
  const script = `
    const calls = [];
    for (const name of ['setTimeout', 'setInterval', 'addEventListener']) globalThis[name] = () => calls.push(name);
    await import('@realtime-token-broker/client');
    await import('@realtime-token-broker/client/react');
    await import('@realtime-token-broker/client/webrtc');
    await import('@realtime-token-broker/client/testing');
    const { createTokenManager } = await import('@realtime-token-broker/client');
    createTokenManager({ baseUrl: '/' }).getSnapshot();
    console.log(JSON.stringify(calls));`;
  const cwd = fileURLToPath(new URL('../../../', import.meta.url));
  assert.equal(execFileSync(process.execPath, ['--input-type=module', '-e', script], { cwd, encoding: 'utf8' }).trim(), '[]');
});

test('E60 a key that was refused is replaced once, and a second refusal is told as expired', async (t) => {
  const { tokens, broker } = bench(t);
  const keys: string[] = [];
  const refuse = (): never => {
    throw new Error('Failed to post the offer: 401 Unauthorized');
  };
  const used = await withFreshKey(tokens, async (key) => (keys.push(key) === 1 ? refuse() : key));
  assert.equal(used, keys[1]);
  assert.notEqual(keys[0], keys[1]);
  assert.equal(await code(withFreshKey(tokens, async () => refuse())), 'expired');
  const other = new Error('no microphone');
  assert.equal(await outcome(withFreshKey(tokens, () => Promise.reject(other))), other);
  assert.equal(broker.requests.length, 3);
});

test('E68 headers are made for each attempt, and their failure is told by its code or as unauthorized', async (t) => {
  let made = 0;
  const headers = async (): Promise<Record<string, string>> => ({ Authorization: `Bearer jwt-${++made}` });
  const { tokens, clock, broker } = bench(t, 600, { headers });
  broker.next(broker.refuse(503, 'auth_unavailable', 1));
  const token = tokens.requestToken();
  await clock.advance(SECOND);
  await token;
  assert.deepEqual(broker.requests.map((request) => request.headers.get('authorization')), ['Bearer jwt-1', 'Bearer jwt-2']);
  for (const [thrown, expected] of [[new Error('no session'), 'unauthorized'], [new TokenError('forbidden'), 'forbidden']] as const) {
    const failing = bench(t, 600, { headers: () => Promise.reject(thrown) });
    assert.equal(await code(failing.tokens.requestToken()), expected);
    assert.equal(failing.of('tokenError').length, 1);
    assert.equal(failing.broker.requests.length, 0);
  }
});

test('E68 a body that cannot be made is told as bad_request with its cause, and not tried again', async (t) => {
  const fault = new RangeError('no such persona');
  for (const [thrown, expected] of [[fault, 'bad_request'], [new TokenError('forbidden'), 'forbidden']] as const) {
    const { tokens, broker, of } = bench(t, 600, { body: () => Promise.reject(thrown) });
    const error = (await outcome(tokens.requestToken())) as TokenError;
    assert.equal(error.code, expected);
    assert.equal(error === thrown || error.cause === fault, true);
    assert.equal(of('tokenError').length, 1);
    assert.equal(broker.requests.length, 0);
  }
});

test('body fields go to POST /token and never to a refresh', async (t) => {
  const { tokens, broker } = bench(t, 600, { body: () => ({ persona: 'tutor' }), baseUrl: 'https://broker.test/api/voice-agent/' });
  const token = await tokens.requestToken();
  await tokens.refreshToken();
  assert.deepEqual(broker.requests.map((request) => request.body), [{ persona: 'tutor' }, { session_id: token.sessionId }]);
  assert.deepEqual(broker.paths, ['/api/voice-agent/token', '/api/voice-agent/refresh-token']);
  assert.equal(tokens.urls.calls, 'https://broker.test/api/voice-agent/calls');
  assert.equal(tokens.urls.relay, 'wss://broker.test/api/voice-agent/realtime');
});

test('no request is cached, follows a redirect, or sends cookies elsewhere unless it is told to', async (t) => {
  for (const credentials of [undefined, 'include'] as const) {
    const { broker } = bench(t);
    const sent: unknown[] = [];
    const spy: typeof fetch = (input, init) => {
      sent.push([init?.method, init?.cache, init?.redirect, init?.credentials]);
      return broker.fetch(input, init);
    };
    const { tokens } = bench(t, 600, { fetch: spy, ...(credentials && { credentials }) });
    await tokens.requestToken();
    await tokens.refreshToken();
    assert.deepEqual(broker.paths, ['/token', '/refresh-token']);
    const each = ['POST', 'no-store', 'error', credentials ?? 'same-origin'];
    assert.deepEqual(sent, [each, each]);
  }
});

test('a snapshot is frozen, and the same object until something changes', async (t) => {
  const { tokens, clock } = bench(t);
  let calls = 0;
  tokens.subscribe(() => calls++);
  await tokens.requestToken();
  const snapshot = tokens.getSnapshot();
  assert.ok(Object.isFrozen(snapshot));
  assert.equal(snapshot.refreshAt, (snapshot.expiresAt ?? 0) - 31_500);
  const before = calls;
  await clock.advance(100 * SECOND);
  await tokens.requestToken();
  assert.equal(tokens.getSnapshot(), snapshot);
  assert.equal(calls, before);
});

test('E69 a thousand refreshes leave no listeners, timers or old tokens behind', async (t) => {
  const { tokens, clock, broker, page, asked, told } = bench(t, 60, { maxIdleMs: Infinity });
  const seen: WeakRef<object>[] = [];
  tokens.on('tokenRefreshed', ({ token }) => seen.push(new WeakRef(token)));
  await tokens.requestToken();
  await clock.advance(100 * SECOND);
  const listeners = page.listeners;
  const timers = clock.timers;
  for (let n = 0; n < 1000; n++) {
    await clock.advance(30 * SECOND);
    broker.requests.length = told.length = 0;
  }
  assert.ok(asked.length >= 1000);
  assert.equal(page.listeners, listeners);
  assert.equal(clock.timers, timers);
  const { gc } = globalThis as { gc?: () => void };
  assert.ok(gc, 'run with --expose-gc');
  await new Promise((resolve) => setTimeout(resolve, 10));
  gc();
  await new Promise((resolve) => setTimeout(resolve, 10));
  gc();
  const alive = seen.filter((ref) => ref.deref()).length;
  assert.ok(alive <= 3, `${alive} of ${seen.length} tokens are still there`);
});

test('using a manager as a disposable destroys it', () => {
  const tokens = createTokenManager({ baseUrl: '/' });
  tokens[Symbol.dispose]();
  assert.equal(tokens.getSnapshot().phase, 'destroyed');
});
