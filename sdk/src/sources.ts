// The sources of tokens: the broker, a function of the page, a fixed text.
import { invalid, type TokenResponse } from './answer.js';
import { type Clock, systemClock } from './clock.js';
import { failure, TokenError, type TokenErrorCode } from './errors.js';
import { refusal } from './refusal.js';
import type { RealtimeToken } from './token.js';

/** Why a token is fetched. */
export type RefreshReason = 'initial' | 'scheduled' | 'forced' | 'demand' | 'resume' | 'online' | 'invalidated';

/** What a source is given. */
export interface SourceContext {
  reason: RefreshReason;
  /** From 1. */
  attempt: number;
  /** Aborts when the last caller stops waiting, or after `timeoutMs`. */
  signal: AbortSignal;
  /** The last token. It may have expired. */
  previous: RealtimeToken | null;
  /** The `owner` of the answer with that token. */
  owner?: unknown;
  /** The `keep` of the answer with that token. */
  keep?: string | undefined;
  /** Returns the handle of a session that the page had before it was reloaded. */
  kept?: (key: string) => string | undefined;
}

/** Fetches a token. A {@link TokenError} that it throws is used as it is: one that is not retryable ends the cycle. */
export type TokenSource = (context: SourceContext) => Promise<TokenResponse | string>;

type Provided<T> = T | (() => T | Promise<T>);

/** How to reach the broker. */
export interface BrokerOptions {
  /** Absolute or root-relative, like `/api/voice-agent`. Default: the page's own origin; required where there is no page. */
  baseUrl?: string;
  /** `/token` */
  tokenPath?: string;
  /** `/refresh-token` */
  refreshPath?: string;
  /** Headers, or a function that returns them for each attempt: the place for `Authorization: Bearer …`. */
  headers?: Provided<Record<string, string>>;
  /** `same-origin`. `include` needs a proxy on the same site: the broker allows no credentials to other origins. */
  credentials?: RequestCredentials;
  /** Fields for `POST /token`, like `persona`, or a function that returns them. */
  body?: Provided<Record<string, unknown>>;
  fetch?: typeof fetch;
  clock?: Clock;
}

/** Evaluates an option. A failure is the page's own fault, with `code`, and another attempt would not help. */
export async function provided<T>(value: Provided<T> | undefined, code: TokenErrorCode): Promise<T | undefined> {
  try {
    return await (typeof value === 'function' ? (value as () => T | Promise<T>)() : value);
  } catch (cause) {
    throw failure(cause, code);
  }
}

/** Returns the URL of `path` at the broker. */
export const below = ({ baseUrl = '' }: BrokerOptions, path: string): string => baseUrl.replace(/\/$/, '') + path;

/** Returns the prefix of the keys under which handles of this broker's sessions outlive a reload. */
export const handlesOf = (options: BrokerOptions): string => `rtb ${below(options, '')} `;

/** Credentials that a page builds from a missing value, or from a promise that it did not wait for. */
const NO_CREDENTIAL = /^Bearer( +(undefined|null|NaN|false|\[object .*))?$/i;

/** Returns tokens of a broker: `POST /token`, then `POST /refresh-token` with the session, or `/token` when that is gone. */
export function fromBroker(options: BrokerOptions = {}): TokenSource {
  const { tokenPath = '/token', refreshPath = '/refresh-token', credentials = 'same-origin', clock = systemClock } = options;
  if (!options.fetch && options.baseUrl === undefined && typeof location === 'undefined') {
    throw new TypeError('baseUrl is required where there is no page.');
  }
  return async ({ previous, owner: before, keep, kept, signal, reason }) => {
    const headers = new Headers(await provided(options.headers, 'unauthorized'));
    const authorization = headers.get('authorization');
    if (NO_CREDENTIAL.test(`${authorization}`)) throw new TokenError('unauthorized', `headers returned "${authorization}".`);
    const subject = subjectOf(authorization);
    const owner = subject ?? authorization;
    // A session is never named with another user's credential.
    const isSame = previous && (before === undefined || before === owner);
    const body = isSame ? undefined : await provided(options.body, 'bad_request');
    // A handle is kept for a user who can be told from others without storing a credential.
    if (!isSame) keep = subject || !authorization ? handlesOf(options) + JSON.stringify([body?.['persona'], subject]) : undefined;
    const post = async (path: string, body?: object): Promise<TokenResponse> => {
      if (body) headers.set('content-type', 'application/json');
      const response = await (options.fetch ?? fetch)(below(options, path), {
        method: 'POST',
        headers,
        body: body ? JSON.stringify(body) : null,
        signal,
        ...known({ credentials, cache: 'no-store', redirect: 'error' }),
      }).catch((cause: unknown) => {
        throw failure(cause, 'network');
      });
      if (!response.ok) throw await refusal(response, clock.wall());
      const answer: unknown = await response.json().catch(() => null);
      if (Object(answer) !== answer) throw invalid(`no JSON object but is ${response.headers.get('content-type')}`);
      return { ...(answer as TokenResponse), answeredAt: Date.parse(response.headers.get('date') ?? ''), owner, keep };
    };
    const session_id = isSame ? previous.sessionId : keep && kept?.(keep);
    const isRefused = reason === 'invalidated';
    if (session_id) {
      try {
        const answer = await post(refreshPath, { session_id });
        // Within its interval the broker hands the last key over again: the one that was refused.
        if (!isRefused || answer.value !== previous?.value) return answer;
      } catch (error) {
        const { status, brokerCode } = error as TokenError;
        const over = isRefused ? /^(401|404|410) |refresh_/ : /^(401|404|410) |refresh_limit/;
        if (!over.test(`${status} ${brokerCode}`)) throw error;
      }
    }
    return post(tokenPath, body ?? (await provided(options.body, 'bad_request')));
  };
}

/** Returns `init`, or what is left of it in a worker runtime that refuses such requests. Redirects are never followed. */
export function known(init: RequestInit): RequestInit {
  try {
    new Request('http://any', init);
    return init;
  } catch {
    return { redirect: 'manual' };
  }
}

/** Returns issuer and subject of a credential that is a JWT: a login may return a new one for every call. */
function subjectOf(authorization: string | null): string | undefined {
  try {
    const claims = authorization?.split('.')[1] ?? '';
    const { iss, sub } = JSON.parse(atob(claims.replace(/-/g, '+').replace(/_/g, '/')));
    return sub && `${iss} ${sub}`;
  } catch {
    return undefined;
  }
}

/** Returns tokens of a function: a server action, tRPC, gRPC. A plain string counts as valid for 60 s. */
export function fromFunction(get: TokenSource): TokenSource {
  return get;
}

/** Returns one fixed token, for tests and prototypes. It cannot be refreshed. */
export function fromLiteral(token: TokenResponse | string): TokenSource {
  return async ({ previous }) => {
    if (previous) throw new TokenError('expired', 'A literal token cannot be refreshed.');
    return token;
  };
}
