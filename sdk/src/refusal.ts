// Owns turning an answer that is not a success into an error: its code, and how long to wait.
import { TokenError, type TokenErrorCode, type TokenErrorDetails } from './errors.js';

const UPSTREAM = 'upstream_unavailable';
const BY_STATUS: Record<number, TokenErrorCode> = {
  401: 'unauthorized',
  403: 'forbidden',
  404: 'not_found',
  408: 'timeout',
  410: 'not_found',
  429: 'rate_limited',
  502: UPSTREAM,
  503: UPSTREAM,
  504: UPSTREAM,
};

/**
 * How long a header or a body asks to wait, in milliseconds, and at least a second: "now" would be a loop. A date is
 * compared with the server's clock, not ours.
 */
function retryAfter(headers: Headers, inBody: unknown, now: number): number | undefined {
  const header = headers.get('retry-after') ?? '';
  const inHeader = parseFloat(header);
  const told = typeof inBody === 'number' && inBody > 0;
  const seconds = inHeader > 0 || !told ? inHeader : inBody;
  if (seconds === seconds) return Math.max(seconds * 1000, 1000);
  const date = Date.parse(header);
  if (Number.isNaN(date)) return undefined;
  const server = Date.parse(headers.get('date') ?? '');
  // Without the server's clock the difference is a guess: never more than a minute.
  return Math.max(Number.isNaN(server) ? Math.min(date - now, 60_000) : date - server, 1000);
}

/** What `response` says went wrong. `now` is this device's wall clock. */
export async function refusal(response: Response, now: number): Promise<TokenError> {
  const { status, headers } = response;
  const body: unknown = await response.json().catch(() => null);
  const { code, message, param, limit, request_id, retry_after } = Object(Object(body).error) as Record<string, string>;
  const known = BY_STATUS[status] ?? (status < 500 ? 'bad_request' : 'server_error');
  const details: Record<string, unknown> = {
    status,
    retryAfterMs: retryAfter(headers, retry_after, now),
    requestId: headers.get('x-request-id') ?? request_id,
    brokerCode: code,
    param,
    limit,
  };
  const spent = /_quota$|^quota_/.test(`${code}`);
  return new TokenError(spent ? 'quota_exceeded' : known, `${message ?? `The answer was ${status}.`}`, details as TokenErrorDetails);
}
