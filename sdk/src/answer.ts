// Owns reading what a source answered: every known shape of a token, and nothing that only looks like one.
import { TokenError } from './errors.js';
import type { SessionSummary } from './token.js';

/**
 * What a source may answer: the broker's shape, OpenAI's (`value`, `expires_at`), its beta (`client_secret`) or the
 * original clients' (`success`, `token`, `expiresAt`). Unknown fields are ignored.
 */
export interface TokenResponse {
  /** The secret. */
  value?: string;
  token?: string;
  client_secret?: { value?: string; expires_at?: number };
  /** Seconds left. Preferred, because it needs no clock. */
  expires_in?: number;
  expiresIn?: number;
  /** Epoch seconds. */
  expires_at?: number;
  /** Epoch milliseconds; read only when `success` is there too. */
  expiresAt?: number;
  success?: boolean;
  session_id?: string;
  sessionId?: string;
  /** Seconds after which the server would like a refresh. */
  refresh_in?: number;
  /** How often the secret may be handed out. */
  max_uses?: number;
  session?: SessionSummary;
  [other: string]: unknown;
}

/** A token that was read. */
export interface Answer {
  value: string;
  lifetimeMs: number;
  sessionId: string | undefined;
  session: SessionSummary | undefined;
  /** Milliseconds after which the server would like a refresh. */
  refreshInMs: number | undefined;
  uses: number;
}

/** Taken when nothing trustworthy tells how long a secret lives: the broker's own default. */
const ASSUMED_MS = 60_000;

const text = (value: unknown): string | undefined => (typeof value === 'string' && value ? value : undefined);
const amount = (value: unknown): number | undefined => (Number.isFinite(value) ? (value as number) : undefined);
const invalid = (what: string): TokenError => new TokenError('invalid_response', `The answer has no usable ${what}.`);

/** Reads `response`. `askedAt` is the wall clock when it was asked for, in epoch milliseconds. */
export function readAnswer(response: unknown, askedAt: number, warn: (message: string) => void): Answer {
  const given = typeof response === 'string';
  const body = (given ? { value: response } : Object(response)) as TokenResponse;
  const secret = Object(body.client_secret) as { value?: string; expires_at?: number };
  const value = text(body.value) ?? text(body.token) ?? text(secret.value);
  if (!value || value === 'undefined' || value === 'null') throw invalid('value');
  if (value.startsWith('sk-')) {
    throw new TokenError('invalid_response', 'The answer holds a standard API key. Revoke it now: it has left the server.');
  }
  const seconds = amount(body.expires_in) ?? amount(body.expiresIn);
  let lifetimeMs = seconds === undefined ? undefined : seconds * 1000;
  if (lifetimeMs === undefined) {
    const at = amount(body.expires_at) ?? amount(secret.expires_at);
    const end = at === undefined && body.success ? amount(body.expiresAt) : at && at * 1000;
    if (end === undefined && !given) throw invalid('expires_in or expires_at');
    lifetimeMs = (end ?? 0) - askedAt;
    // The range that OpenAI allows. Outside of it this device's clock is wrong, not the answer.
    if (lifetimeMs < 10_000 || lifetimeMs > 7_200_000) {
      warn('The answer has no expires_in, and this clock does not fit its end of life: assuming 60 s.');
      lifetimeMs = ASSUMED_MS;
    }
  }
  if (lifetimeMs <= 0) throw invalid('expires_in: it has expired already');
  const refreshIn = amount(body.refresh_in);
  const { id, model, voice, type } = Object(body.session) as SessionSummary;
  return {
    value,
    lifetimeMs,
    sessionId: text(body.sessionId) ?? text(body.session_id),
    session: body.session && (JSON.parse(JSON.stringify({ id, model, voice, type })) as SessionSummary),
    refreshInMs: refreshIn && refreshIn * 1000,
    uses: amount(body.max_uses) ?? Infinity,
  };
}
