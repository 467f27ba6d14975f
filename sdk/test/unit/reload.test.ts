// Tests that the broker's session outlives a reload of the page, and nothing else does.
import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { createTokenManager, type TokenManager, type TokenManagerOptions } from '@realtime-token-broker/client';
import { createFakeBroker, createFakeClock, createFakePage, type FakeBroker, type FakeClock, type FakePage } from '@realtime-token-broker/client/testing';
import { outcome, SECOND } from '../setup.js';

/** A credential of `subject` that is new in each call, like those of a login. */
let issued = 0;
const credential = (subject: string): string => {
  const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url');
  return `Bearer ${part({ alg: 'none' })}.${part({ iss: 'https://login.test', sub: subject, jti: issued++ })}.x`;
};

interface Tab {
  broker: FakeBroker;
  clock: FakeClock;
  storage: Storage;
  /** Opens a page in this tab. The page before it should be left. */
  open(options?: TokenManagerOptions): { tokens: TokenManager; page: FakePage; leave: () => void };
  /** The paths and session ids of the requests so far. */
  asked(): unknown[];
}

function tab(t: TestContext, broker = createFakeBroker()): Tab {
  const clock = createFakeClock();
  const storage = createFakePage().sessionStorage;
  return {
    broker,
    clock,
    storage,
    open(options = {}) {
      const page = createFakePage(storage);
      const tokens = createTokenManager({ baseUrl: 'https://broker.test', fetch: broker.fetch, clock, eventTarget: page, ...options });
      const leave = (): void => {
        page.fire('pagehide');
        // Nothing runs any more: a page that is left does not clean up.
      };
      t.after(() => tokens.destroy());
      return { tokens, page, leave };
    },
    asked: () => broker.requests.map(({ path, body }) => [path, Object(body).session_id]),
  };
}

const items = (storage: Storage): string[] => Object.values(storage);

test('N10 a reload refreshes the session of the page before', async (t) => {
  const { open, storage, asked } = tab(t);
  const first = open();
  const before = await first.tokens.requestToken();
  assert.deepEqual(items(storage), [], 'nothing is stored while the page lives');
  first.leave();
  assert.deepEqual(items(storage), [before.sessionId], 'the handle is stored, and no key');
  assert.ok(!JSON.stringify({ ...storage }).includes(before.value));
  const { tokens } = open();
  await tokens.requestToken();
  assert.deepEqual(asked(), [['/token', undefined], ['/refresh-token', before.sessionId]]);
  assert.deepEqual(items(storage), [], 'a tab that is duplicated now gets no handle');
});

test('a handle serves one page only, so that two pages of a tab never share a session', async (t) => {
  const { open, asked } = tab(t);
  const first = open();
  await first.tokens.requestToken();
  first.leave();
  await Promise.all([open().tokens.requestToken(), open().tokens.requestToken()]);
  assert.deepEqual(asked().map((each) => (each as string[])[0]), ['/token', '/refresh-token', '/token']);
});

test('a refresh that comes too soon after a reload waits as long as the broker says, and goes on', async (t) => {
  const { open, broker, clock, asked } = tab(t);
  const first = open();
  const { sessionId } = await first.tokens.requestToken();
  first.leave();
  broker.next(broker.refuse(429, 'refresh_too_soon', 7));
  const token = open().tokens.requestToken();
  await clock.advance(7 * SECOND);
  assert.ok((await token).value);
  assert.deepEqual(asked(), [['/token', undefined], ['/refresh-token', sessionId], ['/refresh-token', sessionId]]);
});

test('a session that has ended meanwhile is replaced by a new one', async (t) => {
  const { open, broker, asked } = tab(t);
  const first = open();
  const { sessionId } = await first.tokens.requestToken();
  first.leave();
  broker.next(broker.refuse(404, 'unknown_session'));
  assert.ok((await open().tokens.requestToken()).value);
  assert.deepEqual(asked(), [['/token', undefined], ['/refresh-token', sessionId], ['/token', undefined]]);
});

test('base URL, persona and subject must be the same, and a credential is not part of what is stored', async (t) => {
  const as = (subject: string, more: TokenManagerOptions = {}): TokenManagerOptions => ({ headers: () => ({ authorization: credential(subject) }), ...more });
  const same: [TokenManagerOptions, TokenManagerOptions][] = [
    [as('ann'), as('ann')],
    [as('ann', { body: { persona: 'tutor' } }), as('ann', { body: async () => ({ persona: 'tutor' }) })],
  ];
  const other: [TokenManagerOptions, TokenManagerOptions][] = [
    [as('ann'), as('bob')],
    [as('ann'), {}],
    [{}, as('ann')],
    [as('ann', { body: { persona: 'tutor' } }), as('ann')],
    [as('ann'), as('ann', { baseUrl: 'https://broker.test/other' })],
    // Nobody can be told from this credential without storing it.
    [{ headers: { authorization: 'Bearer opaque' } }, { headers: { authorization: 'Bearer opaque' } }],
  ];
  for (const [pairs, path] of [[same, '/refresh-token'], [other, '/token']] as const) {
    for (const [before, after] of pairs) {
      const { open, broker, storage } = tab(t);
      const first = open(before);
      await first.tokens.requestToken();
      first.leave();
      assert.doesNotMatch(JSON.stringify({ ...storage }), /Bearer|opaque|eyJ/);
      await open(after).tokens.requestToken();
      assert.equal(broker.paths[1]?.replace('/other', ''), path, JSON.stringify([before, after]));
    }
  }
});

test('sign-out and the end of the manager remove the handle, also before the first request', async (t) => {
  for (const end of ['forget', 'destroy'] as const) {
    for (const asks of [true, false]) {
      const { open, storage, broker } = tab(t);
      const first = open();
      await first.tokens.requestToken();
      first.leave();
      storage.setItem('of the page', 'stays');
      const second = open();
      if (asks) await second.tokens.requestToken();
      second.tokens[end]();
      second.leave();
      assert.deepEqual(items(storage), ['stays']);
      await open().tokens.requestToken();
      assert.equal(broker.paths.at(-1), '/token');
    }
  }
});

test('after a sign-out even the session that this page took over is not named again', async (t) => {
  const { open, broker } = tab(t);
  const first = open();
  await first.tokens.requestToken();
  first.leave();
  const { tokens } = open();
  await tokens.requestToken();
  tokens.forget();
  await tokens.requestToken();
  assert.deepEqual(broker.paths, ['/token', '/refresh-token', '/token']);
});

test('a session of a user who signed in without forget() is kept under that user, not under the one before', async (t) => {
  const { open, broker } = tab(t);
  let subject = 'ann';
  const headers = (): Record<string, string> => ({ authorization: credential(subject) });
  const first = open({ headers });
  await first.tokens.requestToken();
  subject = 'bob';
  const { sessionId } = await first.tokens.refreshToken();
  first.leave();
  await open({ headers: () => ({ authorization: credential('ann') }) }).tokens.requestToken();
  await open({ headers }).tokens.requestToken();
  assert.deepEqual(broker.paths, ['/token', '/token', '/token', '/refresh-token']);
  assert.equal(Object(broker.requests.at(-1)?.body).session_id, sessionId);
});

test('a page that comes back from the back-forward cache, or from being frozen, takes its handle out of the storage', async (t) => {
  for (const [gone, back] of [['pagehide', 'pageshow'], ['freeze', 'resume']] as const) {
    const { open, storage } = tab(t);
    const { tokens, page } = open();
    const { sessionId } = await tokens.requestToken();
    page.fire(gone);
    assert.deepEqual(items(storage), [sessionId]);
    page.fire(back);
    assert.deepEqual(items(storage), []);
  }
});

test('keepSession: false stores nothing and takes nothing', async (t) => {
  const { open, storage, broker } = tab(t);
  const first = open({ keepSession: false });
  await first.tokens.requestToken();
  first.leave();
  assert.deepEqual(items(storage), []);
  const second = open();
  await second.tokens.requestToken();
  second.leave();
  await open({ keepSession: false }).tokens.requestToken();
  assert.deepEqual(broker.paths, ['/token', '/token', '/token']);
});

test('a browser that refuses access to its storage does no harm', async (t) => {
  const { open } = tab(t);
  const page = createFakePage();
  Object.defineProperty(page, 'sessionStorage', {
    get() {
      throw new DOMException('The operation is insecure.', 'SecurityError');
    },
  });
  const { tokens } = open({ eventTarget: page });
  assert.ok((await tokens.requestToken()).value);
  page.fire('pagehide');
  tokens.forget();
  assert.ok((await tokens.requestToken()).value);
  assert.equal(await outcome(Promise.resolve('reached')), 'reached');
});
