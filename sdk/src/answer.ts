// Reads the answer of a source: every known shape of a token, and nothing that only looks like one.
import { stopwatch } from './clock.js';
import { TokenError } from './errors.js';
import type { Settings } from './options.js';
import { type Connect, RealtimeToken, type SessionSummary } from './token.js';

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
  /** How to connect with the secret. */
  connect?: Connect;
  /** The server's clock when it answered, in epoch milliseconds: makes `expires_at` independent of this device's clock. */
  answeredAt?: number;
  /** The user for whom the session was opened. Passed to the source again, compared, never shown. */
  owner?: unknown;
  /** The key under which the session's handle outlives a reload. Passed to the source again. */
  keep?: string | undefined;
  [other: string]: unknown;
}

/** A token with what the manager needs to know about it. */
export interface Held {
  token: RealtimeToken;
  /** Returns the milliseconds until its end, by elapsed time. */
  left: () => number;
  /** How long before its end the next token is due, in milliseconds. */
  leadMs: number;
  /** How often it may still be handed out. */
  uses: number;
  /** See {@link TokenResponse.owner}. */
  owner: unknown;
  /** See {@link TokenResponse.keep}. */
  keep: string | undefined;
}

/** Returns the error for an answer that is no token, because it has `what`. */
export const invalid = (what: string): TokenError => new TokenError('invalid_response', `The answer has ${what}.`);

/**
 * Call it when asking: the lifetime counts from the question, so that it never seems longer than it is. The returned
 * function reads the answer.
 */
export function question(settings: Settings, warn: (message: string) => void): (response: TokenResponse | string) => Held {
  const { clock, random, refreshThresholdSeconds } = settings;
  const askedAt = clock.wall();
  const age = stopwatch(clock);
  return (response) => {
    const body = (typeof response === 'string' ? { value: response, expires_in: 60 } : Object(response)) as TokenResponse;
    const { value, token, expires_in, expiresIn, success, expiresAt, expires_at, session, refresh_in, max_uses, connect, answeredAt } = {
      ...body.client_secret,
      ...body,
    };
    const secret = value ?? token;
    if (typeof secret !== 'string' || /^(undefined|null)?$/.test(secret)) throw invalid('no value');
    if (secret.startsWith('sk-')) throw invalid('a standard API key: revoke it now');
    const end = expires_at ? expires_at * 1000 : success ? Number(expiresAt) : NaN;
    let lifetimeMs = Number(expires_in ?? expiresIn ?? NaN) * 1000;
    if (Number.isNaN(lifetimeMs)) {
      lifetimeMs = end - (answeredAt || askedAt);
      // The range that OpenAI allows. A value outside means that this device's clock is wrong.
      if (!answeredAt && (lifetimeMs < 10_000 || lifetimeMs > 7_200_000)) {
        warn('No expires_in, and a wrong clock: assuming 60 s.');
        lifetimeMs = 60_000;
      }
    }
    if (!(lifetimeMs > 0)) throw invalid('no expires_at, or is over');
    const { id, model, voice, type } = Object(session) as SessionSummary;
    // Stretched at random, so that many devices do not fetch in the same second.
    const lead = refresh_in ? Math.max(lifetimeMs - refresh_in * 1000, 1000) : refreshThresholdSeconds * (1000 + random() * 100);
    return {
      token: new RealtimeToken(secret, body.sessionId ?? body.session_id, {
        expiresAt: askedAt + lifetimeMs,
        lifetimeMs,
        skewMs: end - askedAt - lifetimeMs || 0,
        session: session && ({ id, model, voice, type } as SessionSummary),
        connect,
      }),
      left: () => lifetimeMs - age(),
      leadMs: Math.min(lead, lifetimeMs / 2),
      // Where the broker holds the call, the key is a ticket: it opens one.
      uses: max_uses && max_uses > 0 ? max_uses : /call|relay/.test(`${connect?.mode}`) ? 1 : Infinity,
      owner: body.owner,
      keep: body.keep,
    };
  };
}
