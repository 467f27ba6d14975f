// Owns what can go wrong: one code per cause, whether trying again helps, and what to do about it.

/** One code per cause. What each means and what to do: `docs/client.md`. */
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

// For each code its hint, short because they are a tenth of the core (docs/client.md says more), and its statuses.
const KINDS: Record<TokenErrorCode, [hint: string, ...statuses: number[]]> = {
  network: ['Network, TLS or CORS: does the broker allow this origin?'],
  offline: ['This device is offline.'],
  timeout: ['The broker is too slow.', 408],
  aborted: ['The caller gave up.'],
  bad_request: ['See param or cause.'],
  unauthorized: ['Your login is missing or expired.', 401],
  forbidden: ['This origin or user is not allowed.', 403],
  not_found: ['Wrong base URL or path.', 404, 410],
  rate_limited: ['Wait for retryAfterMs.', 429],
  quota_exceeded: ['See limit, or ask the operator.'],
  upstream_unavailable: ['OpenAI or the path to it is down.', 502, 503, 504],
  server_error: ['See cause, or quote requestId.'],
  invalid_response: ['Is this the URL of the broker?'],
  expired: ['The key is for the Realtime API only.'],
  destroyed: ['Create a new manager.'],
};

const RETRYABLE = /^(netw|off|time|rate|up|serv)/;
// A path in the project: it may be kept in more places than one.
const DOCS_URL = 'docs/client.md#errors';
const BRAND = Symbol.for('realtime-token-broker.TokenError');

/** What is known about a failure beside its code. */
export interface TokenErrorDetails {
  /** Overrides what the code says. */
  retryable?: boolean;
  /** Status of the answer. */
  status?: number;
  /** How long to wait, in milliseconds, as the broker said. */
  retryAfterMs?: number;
  /** The broker's `X-Request-Id`, for its operator. */
  requestId?: string;
  /** The broker's own code, more exact than `code`: `origin_not_allowed`, `unknown_session`, `blocked`, … */
  brokerCode?: string;
  /** The field at fault. */
  param?: string;
  /** The name of the limit or quota that was reached. */
  limit?: string;
  cause?: unknown;
}

/** A failure to get a token. Never holds a secret. Use {@link TokenError.is} instead of `instanceof` across bundles. */
export class TokenError extends Error {
  declare readonly code: TokenErrorCode;
  /** True when the same request may succeed later. */
  declare readonly retryable: boolean;
  declare readonly status?: number;
  declare readonly retryAfterMs?: number;
  declare readonly requestId?: string;
  declare readonly brokerCode?: string;
  declare readonly param?: string;
  declare readonly limit?: string;
  /** Which attempt of a cycle failed, from 1. Written by the manager. */
  declare attempt?: number;
  /** What to do, for people. */
  declare readonly hint: string;
  /** Where to read more, as a path in the project. */
  declare readonly docsUrl: string;

  constructor(code: TokenErrorCode, message?: string, details: TokenErrorDetails = {}) {
    const [hint] = KINDS[code];
    super(message ?? hint, details);
    Object.assign(this, { [BRAND]: true, name: 'TokenError', code, retryable: RETRYABLE.test(code), hint, docsUrl: DOCS_URL }, details);
  }

  /** True for a token error, also one that another copy of this package made. */
  static is(value: unknown): value is TokenError {
    return BRAND in Object(value);
  }
}

/** `cause` if it is a token error, else one with `code` that it caused. */
export function failure(cause: unknown, code: TokenErrorCode): TokenError {
  return TokenError.is(cause) ? cause : new TokenError(code, undefined, { cause });
}

/** The code for an answer with `status`. */
export function codeOf(status: number): TokenErrorCode {
  const known = (Object.keys(KINDS) as TokenErrorCode[]).find((code) => KINDS[code].includes(status));
  return known ?? (status < 500 ? 'bad_request' : 'server_error');
}
