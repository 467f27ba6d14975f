// Owns where tokens come from: the broker, a function of yours, or a fixed text.
import { invalid, type TokenResponse } from './answer.js';
import { type Clock, systemClock } from './clock.js';
import { failure, TokenError, type TokenErrorCode } from './errors.js';
import { refusal } from './refusal.js';
import type { RealtimeToken } from './token.js';

/** Why a token is fetched. */
export type RefreshReason = 'initial' | 'scheduled' | 'forced' | 'demand' | 'resume' | 'online' | 'invalidated';

/** What a source is told. */
export interface SourceContext {
  reason: RefreshReason;
  /** From 1. */
  attempt: number;
  /** Aborts when nobody waits any more, or after `timeoutMs`. */
  signal: AbortSignal;
  /** The last token, perhaps expired. */
  previous: RealtimeToken | null;
  /** What the answer with that token said in `owner`. */
  owner?: unknown;
}

/** Fetches a token. A {@link TokenError} that it throws is taken as it is: one that is not retryable ends the cycle. */
export type TokenSource = (context: SourceContext) => Promise<TokenResponse | string>;

type Provided<T> = T | (() => T | Promise<T>);

/** How to reach the broker. */
export interface BrokerOptions {
  /** Absolute or root-relative; the page's own origin by default. May hold a path, like `/api/voice-agent`. */
  baseUrl?: string;
  /** `/token` */
  tokenPath?: string;
  /** `/refresh-token` */
  refreshPath?: string;
  /** Headers, or a function that makes them for each attempt: the place for `Authorization: Bearer …`. */
  headers?: Provided<Record<string, string>>;
  /** `same-origin`. `include` needs a proxy on the same site: the broker allows no credentials to other origins. */
  credentials?: RequestCredentials;
  /** Fields for `POST /token`, like `persona`, or a function that makes them. */
  body?: Provided<Record<string, unknown>>;
  fetch?: typeof fetch;
  clock?: Clock;
}

/** What an option gives. One that fails is a fault of the page, told by `code`, that trying again does not mend. */
async function provided<T>(value: Provided<T> | undefined, code: TokenErrorCode): Promise<T | undefined> {
  try {
    return await (typeof value === 'function' ? (value as () => T | Promise<T>)() : value);
  } catch (cause) {
    throw failure(cause, code);
  }
}

/** Where `path` is, below the broker's base. */
export const below = ({ baseUrl = '' }: BrokerOptions, path: string): string => baseUrl.replace(/\/$/, '') + path;

/** Tokens from a broker: `POST /token`, then `POST /refresh-token` with the session, and again `/token` if that is gone. */
export function fromBroker(options: BrokerOptions = {}): TokenSource {
  const { tokenPath = '/token', refreshPath = '/refresh-token', credentials = 'same-origin', clock = systemClock } = options;
  return async ({ previous, owner: before, signal, reason }) => {
    const headers = new Headers(await provided(options.headers, 'unauthorized'));
    const owner = whom(headers.get('authorization'));
    const post = async (path: string, body?: object): Promise<TokenResponse> => {
      if (body) headers.set('content-type', 'application/json');
      const response = await (options.fetch ?? fetch)(below(options, path), {
        method: 'POST',
        headers,
        body: body ? JSON.stringify(body) : null,
        signal,
        credentials,
        cache: 'no-store',
        redirect: 'error',
      }).catch((cause: unknown) => {
        throw failure(cause, 'network');
      });
      if (!response.ok) throw await refusal(response, clock.wall());
      const answer: unknown = await response.json().catch(() => null);
      if (Object(answer) !== answer) throw invalid(`no JSON object but is ${response.headers.get('content-type')}`);
      return { ...(answer as TokenResponse), answeredAt: Date.parse(response.headers.get('date') ?? ''), owner };
    };
    const session_id = previous?.sessionId;
    // A session is never named with another credential: to the broker that would be a stranger who guesses.
    if (session_id && (before === undefined || before === owner)) {
      try {
        return await post(refreshPath, { session_id });
      } catch (error) {
        const { status, brokerCode } = error as TokenError;
        const over = brokerCode === 'refresh_limit_reached' || (brokerCode === 'refresh_too_soon' && reason === 'invalidated');
        if (!over && !/^(401|404|410)$/.test(`${status}`)) throw error;
      }
    }
    return post(tokenPath, await provided(options.body, 'bad_request'));
  };
}

/** Issuer and subject, where the credential is a JWT that names them: a login may give another one at every call. */
function whom(authorization: string | null): string | null {
  try {
    const claims = authorization?.split('.')[1] ?? '';
    const { iss, sub } = JSON.parse(atob(claims.replace(/-/g, '+').replace(/_/g, '/')));
    return sub ? `${iss} ${sub}` : authorization;
  } catch {
    return authorization;
  }
}

/** Tokens from a function: a server action, tRPC, gRPC. A bare text is taken to live for 60 s. */
export function fromFunction(get: TokenSource): TokenSource {
  return get;
}

/** One fixed token, for tests and prototypes. It cannot be refreshed. */
export function fromLiteral(token: TokenResponse | string): TokenSource {
  return async ({ previous }) => {
    if (previous) throw new TokenError('expired', 'A literal token cannot be refreshed.');
    return token;
  };
}
