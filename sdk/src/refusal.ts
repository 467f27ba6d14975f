// Owns turning an answer that is not a success into an error: its code, and how long to wait.
import { TokenError, type TokenErrorCode, type TokenErrorDetails } from './errors.js';

const BY_STATUS: Record<number, TokenErrorCode> = {
  401: 'unauthorized',
  403: 'forbidden',
  404: 'not_found',
  408: 'timeout',
  410: 'not_found',
  429: 'rate_limited',
  502: 'upstream_unavailable',
  503: 'upstream_unavailable',
  504: 'upstream_unavailable',
};

/** How long a header or a body asks to wait, in milliseconds. A date is compared with the server's clock, not ours. */
function retryAfter(headers: Headers, inBody: unknown, now: number): number | undefined {
  const header = headers.get('retry-after') ?? '';
  const seconds = [parseFloat(header), inBody].find((value) => Number(value) >= 0);
  if (seconds !== undefined) return Number(seconds) * 1000;
  const date = Date.parse(header);
  if (Number.isNaN(date)) return undefined;
  const server = Date.parse(headers.get('date') ?? '');
  // Without the server's clock the difference is a guess: never more than a minute.
  return Number.isNaN(server) ? Math.min(Math.max(date - now, 0), 60_000) : Math.max(date - server, 0);
}

/** What `response` says went wrong. `now` is this device's wall clock. */
export async function refusal(response: Response, now: number): Promise<TokenError> {
  const { status, headers } = response;
  const body = (await response.json().catch(() => null)) as { error?: Record<string, unknown> } | null;
  const error = Object(body?.error) as Record<string, unknown>;
  const code = /^(insufficient_quota|quota_exceeded)$/.test(`${error['code']}`)
    ? 'quota_exceeded'
    : (BY_STATUS[status] ?? (status < 500 ? 'bad_request' : 'server_error'));
  const details: TokenErrorDetails = { status };
  const wait = retryAfter(headers, error['retry_after'], now);
  if (wait !== undefined) details.retryAfterMs = wait;
  for (const [name, value] of [
    ['requestId', headers.get('x-request-id') ?? error['request_id']],
    ['brokerCode', error['code']],
    ['param', error['param']],
    ['limit', error['limit']],
  ] as const) {
    if (typeof value === 'string') details[name] = value;
  }
  const message = error['message'];
  return new TokenError(code, typeof message === 'string' ? message : `The answer was ${status}.`, details);
}
