// Tests what the client refuses to send or to start with: credentials made of nothing, a broker nowhere.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createTokenManager, fromFunction, type TokenError } from '@realtime-token-broker/client';
import { bench, outcome } from '../setup.js';

const MISSING: unknown = undefined;
const NOTHING = [
  `Bearer ${MISSING as string}`,
  `Bearer ${null as unknown as string}`,
  'Bearer ',
  'Bearer',
  'bearer undefined',
  `Bearer ${NaN}`,
  `Bearer ${false}`,
  `Bearer ${Promise.resolve('a token that nobody waited for') as unknown as string}`,
  `Bearer ${{} as unknown as string}`,
];

for (const authorization of NOTHING) {
  test(`F17 "${authorization}" is never sent: the error says what headers returned`, async (t) => {
    for (const name of ['Authorization', 'authorization']) {
      const { tokens, broker } = bench(t, 600, { headers: () => ({ [name]: authorization }) });
      const error = (await outcome(tokens.requestToken())) as TokenError;
      assert.equal(error.code, 'unauthorized');
      assert.equal(error.retryable, false);
      assert.match(error.message, /^headers returned "[Bb]earer/);
      assert.equal(broker.requests.length, 0);
    }
  });
}

test('a credential that only begins like one made of nothing is sent', async (t) => {
  for (const authorization of ['Bearer undefined-but-real', 'Bearer nullable', 'Bearer falsehood', 'Basic undefined']) {
    const { tokens, broker } = bench(t, 600, { headers: { authorization } });
    await tokens.requestToken();
    assert.equal(broker.requests[0]?.headers.get('authorization'), authorization);
  }
});

test('N15 without a page, a missing baseUrl is refused at construction', () => {
  assert.throws(() => createTokenManager(), { name: 'TypeError', message: /baseUrl is required/ });
  assert.throws(() => createTokenManager({ baseUrl: undefined as unknown as string }), TypeError);
  createTokenManager({ baseUrl: 'https://broker.test' }).destroy();
  // For server rendering: the page that the manager is for has an origin.
  createTokenManager({ baseUrl: '/' }).destroy();
  createTokenManager({ source: fromFunction(async () => 'ek_no_broker') }).destroy();
});
