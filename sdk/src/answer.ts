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
  /** How far the server's clock is ahead of this device's, in milliseconds, as far as the answer tells. */
  skewMs: number;
  /** Milliseconds after which the server would like a refresh. */
  refreshInMs: number | undefined;
  uses: number;
}

/** Taken when nothing trustworthy tells how long a secret lives: the broker's own default. */
const ASSUMED_MS = 60_000;

const invalid = (what: string): TokenError => new TokenError('invalid_response', `The answer has ${what}.`);
const first = <T>(type: string, ...values: unknown[]): T | undefined => values.find((value) => typeof value === type && value === value) as T;

/** Reads `response`. `askedAt` is the wall clock when it was asked for, in epoch milliseconds. */
export function readAnswer(response: TokenResponse | string, askedAt: number, warn: (message: string) => void): Answer {
  const body = (typeof response === 'string' ? { value: response, expires_at: 0 } : Object(response)) as TokenResponse;
  const secret = Object(body.client_secret) as { value?: string; expires_at?: number };
  const value = first<string>('string', body.value, body.token, secret.value);
  if (!value || /^(undefined|null)$/.test(value)) throw invalid('no value');
  if (value.startsWith('sk-')) throw invalid('a standard API key. Revoke it now: it has left the server');
  const seconds = first<number>('number', body.expires_in, body.expiresIn);
  let lifetimeMs = Number(seconds) * 1000;
  const end = first<number>('number', body.expires_at, secret.expires_at, body.success && Number(body.expiresAt) / 1000);
  if (seconds === undefined) {
    if (end === undefined) throw invalid('no expires_in or expires_at');
    lifetimeMs = end * 1000 - askedAt;
    // The range that OpenAI allows. Outside of it this device's clock is wrong, not the answer.
    if (lifetimeMs < 10_000 || lifetimeMs > 7_200_000) {
      warn('No expires_in, and this clock does not fit: assuming 60 s.');
      lifetimeMs = ASSUMED_MS;
    }
  }
  if (lifetimeMs <= 0) throw invalid('expired already');
  const { id, model, voice, type } = Object(body.session) as SessionSummary;
  return {
    value,
    lifetimeMs,
    skewMs: end ? end * 1000 - askedAt - lifetimeMs : 0,
    sessionId: first('string', body.sessionId, body.session_id),
    session: body.session && ({ id, model, voice, type } as SessionSummary),
    refreshInMs: body.refresh_in && body.refresh_in * 1000,
    uses: body.max_uses ?? Infinity,
  };
}
