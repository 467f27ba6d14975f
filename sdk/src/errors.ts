// The errors: one code per cause, whether another attempt helps, and what to do.

/** One code per cause. `docs/client.md` says what each means and what to do. */
export type TokenErrorCode =
  | 'network'
  | 'offline'
  | 'timeout'
  | 'aborted'
  | 'bad_request'
  | 'unauthorized'
  | 'forbidden'
  | 'not_found'
  | 'rate_limited'
  | 'quota_exceeded'
  | 'upstream_unavailable'
  | 'server_error'
  | 'invalid_response'
  | 'expired'
  | 'destroyed';

/** The broker's own codes. `docs/api.md` of the broker says what each means. */
export type BrokerCode =
  | 'bad_request'
  | 'unauthorized'
  | 'ticket_expired'
  | 'ticket_used'
  | 'origin_not_allowed'
  | 'forbidden'
  | 'not_found'
  | 'unknown_session'
  | 'unknown_call'
  | 'invalid_offer'
  | 'video_not_allowed'
  | 'method_not_allowed'
  | 'payload_too_large'
  | 'recording_too_large'
  | 'upload_timeout'
  | 'unsupported_recording'
  | 'recording_refused'
  | 'model_not_allowed'
  | 'headers_too_large'
  | 'unsupported_media_type'
  | 'misdirected'
  | 'unknown_persona'
  | 'mode_not_allowed'
  | 'rate_limited'
  | 'quota_exceeded'
  | 'money_exhausted'
  | 'blocked'
  | 'refresh_too_soon'
  | 'refresh_limit_reached'
  | 'internal'
  | 'call_repeated'
  | 'call_ended'
  | 'call_limit'
  | 'upstream_invalid'
  | 'upstream_unavailable'
  | 'overloaded'
  | 'no_price'
  | 'ledger_unavailable'
  | 'auth_unavailable'
  | 'shutting_down'
  | 'upstream_timeout';

// The hint of each code, and its statuses. Hints are short, because they are a tenth of the core.
const KINDS: Record<TokenErrorCode, [hint: string, ...statuses: number[]]> = {
  network: ['Network, TLS or CORS: does the broker allow this origin?'],
  offline: ['This device is offline.'],
  timeout: ['The broker is too slow.', 408],
  aborted: ['The caller gave up.'],
  bad_request: ['The request is wrong: see param.'],
  unauthorized: ['Your login is missing or expired.', 401],
  forbidden: ['This origin or user is not allowed.', 403],
  not_found: ['Wrong base URL or path.', 404, 410],
  rate_limited: ['Too many requests.', 429],
  quota_exceeded: ['See limit, or ask the operator.', 402],
  upstream_unavailable: ['OpenAI or the path to it is down.', 502, 503, 504],
  server_error: ['See cause, or quote requestId.'],
  invalid_response: ['Is this the URL of the broker?'],
  expired: ['The key is for the Realtime API only.'],
  destroyed: ['Create a new manager.'],
};

const RETRYABLE = /^(netw|off|time|rate|up|serv)/;
const DOCS_URL = 'https://npmjs.com/package/@realtime-token-broker/client#errors';
const BRAND = Symbol.for('realtime-token-broker.TokenError');

/** Details of a failure. */
export interface TokenErrorDetails {
  /** Overrides the default of the code. */
  retryable?: boolean;
  /** Status of the answer. */
  status?: number;
  /** The wait that the broker asked for, in milliseconds. */
  retryAfterMs?: number;
  /** The broker's `X-Request-Id`, which finds the request in its log. */
  requestId?: string;
  /** The broker's own code, finer than `code`. A provider or a proxy may have other codes. */
  brokerCode?: BrokerCode | (string & {});
  /** The field at fault. */
  param?: string;
  /** The name of the limit or quota that was reached. */
  limit?: string;
  cause?: unknown;
}

/** A failure to get a token. It never holds a secret. Across bundles, use {@link TokenError.is} in place of `instanceof`. */
export class TokenError extends Error {
  declare readonly code: TokenErrorCode;
  /** True when the same request may succeed later. */
  declare readonly retryable: boolean;
  declare readonly status?: number;
  declare readonly retryAfterMs?: number;
  declare readonly requestId?: string;
  declare readonly brokerCode?: BrokerCode | (string & {});
  declare readonly param?: string;
  declare readonly limit?: string;
  /** The attempt that failed, from 1. The manager sets it. */
  declare attempt?: number;
  /** What to do, in a sentence. */
  declare readonly hint: string;
  /** A URL with the meaning of all codes. */
  declare readonly docsUrl: string;

  constructor(code: TokenErrorCode, message?: string, details: TokenErrorDetails = {}) {
    const [hint] = KINDS[code];
    super(message ?? hint, details);
    Object.assign(this, { [BRAND]: true, name: 'TokenError', code, retryable: RETRYABLE.test(code), hint, docsUrl: DOCS_URL }, details);
  }

  /** Returns true for a token error, also of another copy of this package. */
  static is(value: unknown): value is TokenError {
    return BRAND in Object(value);
  }
}

/** Returns `cause` if it is a token error, and otherwise a token error with `code` and this cause. */
export function failure(cause: unknown, code: TokenErrorCode): TokenError {
  return TokenError.is(cause) ? cause : new TokenError(code, undefined, { cause });
}

/** Returns the code for an answer with `status`. */
export function codeOf(status: number): TokenErrorCode {
  const known = (Object.keys(KINDS) as TokenErrorCode[]).find((code) => KINDS[code].includes(status));
  return known ?? (status < 500 ? 'bad_request' : 'server_error');
}
