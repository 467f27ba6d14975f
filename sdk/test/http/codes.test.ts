// Tests that the client and the broker know the same codes, by the list that the broker publishes, and what the client makes of each.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { type BrokerCode, createTokenManager, type TokenError, type TokenErrorCode } from '@realtime-token-broker/client';
import { startBroker } from '../broker.js';
import { outcome } from '../setup.js';

/** The client's code for each of the broker's, and whether another attempt may help. */
const CLASSES: Record<BrokerCode, [TokenErrorCode, boolean]> = {
  bad_request: ['bad_request', false],
  unauthorized: ['unauthorized', false],
  ticket_expired: ['unauthorized', false],
  ticket_used: ['bad_request', false],
  origin_not_allowed: ['forbidden', false],
  forbidden: ['forbidden', false],
  not_found: ['not_found', false],
  unknown_session: ['not_found', false],
  unknown_call: ['not_found', false],
  invalid_offer: ['bad_request', false],
  video_not_allowed: ['bad_request', false],
  method_not_allowed: ['bad_request', false],
  payload_too_large: ['bad_request', false],
  recording_too_large: ['bad_request', false],
  upload_timeout: ['timeout', true],
  unsupported_recording: ['bad_request', false],
  recording_refused: ['bad_request', false],
  model_not_allowed: ['forbidden', false],
  headers_too_large: ['bad_request', false],
  unsupported_media_type: ['bad_request', false],
  misdirected: ['bad_request', false],
  unknown_persona: ['bad_request', false],
  mode_not_allowed: ['bad_request', false],
  rate_limited: ['rate_limited', true],
  quota_exceeded: ['quota_exceeded', false],
  money_exhausted: ['quota_exceeded', false],
  blocked: ['rate_limited', true],
  refresh_too_soon: ['rate_limited', true],
  refresh_limit_reached: ['rate_limited', true],
  internal: ['server_error', true],
  call_repeated: ['bad_request', false],
  call_ended: ['bad_request', false],
  call_limit: ['rate_limited', true],
  upstream_invalid: ['upstream_unavailable', true],
  upstream_unavailable: ['upstream_unavailable', true],
  overloaded: ['upstream_unavailable', true],
  no_price: ['upstream_unavailable', true],
  ledger_unavailable: ['upstream_unavailable', true],
  auth_unavailable: ['upstream_unavailable', true],
  shutting_down: ['upstream_unavailable', true],
  upstream_timeout: ['upstream_unavailable', true],
};

/** The status of each code, as the broker's document says. */
function statuses(): Map<string, number> {
  const document = readFileSync(new URL('../../../../docs/api.md', import.meta.url), 'utf8');
  const rows = [...document.matchAll(/^\| (\d{3}(?:, \d{3})*) \| (`\w+`(?:, `\w+`)*) \|/gm)];
  return new Map(rows.flatMap(([, numbers = '', codes = '']) => {
    const known = numbers.split(', ').map(Number);
    return [...codes.matchAll(/\w+/g)].map(([code], nth): [string, number] => [code, known[nth] ?? Number(known[0])]);
  }));
}

test('the client knows the codes that the broker publishes, and no others', async (t) => {
  const broker = await startBroker();
  t.after(() => broker.stop());
  const document = (await (await fetch(`${broker.url}/openapi.json`)).json()) as { components: { schemas: { Code: { enum: string[] } } } };
  assert.deepEqual(Object.keys(CLASSES).sort(), document.components.schemas.Code.enum.sort());
});

test('each code of the broker has a row in its document, and its class here', async () => {
  const documented = statuses();
  for (const [code, expected] of Object.entries(CLASSES)) {
    const status = documented.get(code);
    assert.ok(status, `docs/api.md has no row for ${code}`);
    const answer = { error: { code, message: 'No.' } };
    const tokens = createTokenManager({ baseUrl: 'https://broker.test', fetch: async () => Response.json(answer, { status }), maxAttempts: 1 });
    const error = (await outcome(tokens.requestToken())) as TokenError;
    tokens.destroy();
    assert.deepEqual([error.code, error.retryable, error.brokerCode, error.status], [...expected, code, status], code);
  }
});
