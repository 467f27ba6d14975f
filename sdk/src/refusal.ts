// Turns an unsuccessful answer into an error: its code, and how long to wait.
import { codeOf, TokenError, type TokenErrorDetails } from './errors.js';

/**
 * Returns the wait that the header asks for or, when a proxy has dropped the header, the body, in milliseconds. A date is
 * compared with the server's clock.
 */
function retryAfter(headers: Headers, inBody: unknown, now: number): number | undefined {
  const header = headers.get('retry-after') ?? '';
  const inHeader = parseFloat(header);
  const seconds = inHeader > 0 || !(Number(inBody) > 0) ? inHeader : Number(inBody);
  if (!Number.isNaN(seconds)) return seconds * 1000;
  const server = Date.parse(headers.get('date') ?? '');
  const wait = Date.parse(header) - (server || now);
  // Without the server's clock the difference is a guess, so it is bounded by a minute.
  return Number.isNaN(wait) ? undefined : Math.min(wait, server ? wait : 60_000);
}

/** Returns the error that `response` describes. `now` is this device's wall clock. */
export async function refusal(response: Response, now: number): Promise<TokenError> {
  const { status, headers } = response;
  const body: unknown = await response.json().catch(() => null);
  const { code, message, param, limit, request_id, retry_after } = Object(Object(body).error) as Record<string, string>;
  return new TokenError(/_quota$|^quota_/.test(`${code}`) ? 'quota_exceeded' : codeOf(status), message, {
    status,
    retryAfterMs: retryAfter(headers, retry_after, now),
    requestId: headers.get('x-request-id') ?? request_id,
    brokerCode: code,
    param,
    limit,
  } as TokenErrorDetails);
}
