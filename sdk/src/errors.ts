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

const HINTS: Record<TokenErrorCode, string> = {
  network: 'Network, DNS, TLS or CORS: is the origin of this page among the allowed origins of the broker?',
  offline: 'This device is offline.',
  timeout: 'The broker is slow or cannot be reached.',
  aborted: 'The caller gave up.',
  bad_request: 'The broker refused the request; param names the field.',
  unauthorized: 'Your login is missing or has expired: see the headers option.',
  forbidden: 'This origin or user is not allowed.',
  not_found: 'Wrong base URL or path, or the session is unknown.',
  rate_limited: 'Too many requests: try again after retryAfterMs.',
  quota_exceeded: 'The quota is used up: limit names it, or the operator must check billing.',
  upstream_unavailable: 'OpenAI, the path to it or a store of the broker is down.',
  server_error: 'A fault of the broker: report requestId to its operator.',
  invalid_response: 'The answer is not a token: is this URL the broker?',
  expired: 'The key died before it was used: get a new one. A key is for the Realtime API only.',
  destroyed: 'Create a new manager.',
};

const RETRYABLE = /^(network|offline|timeout|rate_limited|upstream_unavailable|server_error)$/;
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
  readonly code: TokenErrorCode;
  /** True when the same request may succeed later. */
  readonly retryable: boolean;
  readonly status?: number;
  readonly retryAfterMs?: number;
  readonly requestId?: string;
  readonly brokerCode?: string;
  readonly param?: string;
  readonly limit?: string;
  /** Which attempt of a cycle failed, from 1. Written by the manager. */
  attempt?: number;
  /** What to do, for people. */
  readonly hint: string;
  /** Where to read more. */
  readonly docsUrl: string;

  constructor(code: TokenErrorCode, message?: string, details: TokenErrorDetails = {}) {
    const { cause, ...known } = details;
    super(message ?? HINTS[code], cause === undefined ? undefined : { cause });
    this.name = 'TokenError';
    this.code = code;
    this.retryable = RETRYABLE.test(code);
    this.hint = HINTS[code];
    this.docsUrl = 'https://www.npmjs.com/package/@realtime-token-broker/client#errors';
    Object.assign(this, known);
    Object.defineProperty(this, BRAND, { value: true });
  }

  /** True for a token error, also one that another copy of this package made. */
  static is(value: unknown): value is TokenError {
    return typeof value === 'object' && value !== null && BRAND in value;
  }
}
