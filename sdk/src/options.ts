// The options of a manager and their defaults.
import { type Clock, systemClock } from './clock.js';
import { type BrokerOptions, fromBroker, type TokenSource } from './sources.js';

/** Receives messages, never a secret. */
export interface Logger {
  /** Why a token was invalidated. */
  debug?(message: string): void;
  /** What is wrong with an answer or an option. Each message comes once. */
  warn?(message: string): void;
}

/** A window, or an object that dispatches its events. Its visibility, network and storage count. */
export interface PageLike extends EventTarget {
  readonly document?: { readonly visibilityState: string };
  readonly navigator?: { readonly onLine: boolean };
  readonly sessionStorage?: Storage;
}

/** How to ask for a token. */
export interface RequestOptions {
  /** Wait for a new token, whatever the current one is. */
  force?: boolean;
  /** How long the token must still live, in milliseconds. 5000 or half of its life, and less when a refresh fails. */
  minValidityMs?: number;
  /** Stops waiting. The request goes on while others wait for it. */
  signal?: AbortSignal;
}

/** The options. Each has a default. */
export interface TokenManagerOptions extends BrokerOptions {
  /** Replaces the broker at `baseUrl`. */
  source?: TokenSource;
  /** Seconds before the end of a token at which a refresh starts, at most half of its life. 30. */
  refreshThresholdSeconds?: number;
  /** Refresh in the background. False fetches on demand only. True. */
  autoRefresh?: boolean;
  /** The same: its name in the original clients. */
  enableAutoRefresh?: boolean;
  /** Keep the broker's session when the page is reloaded: its handle, never a key, in `sessionStorage`. True. */
  keepSession?: boolean;
  /** Whether to refresh while the page is hidden and nothing holds the manager. `pause`. */
  whenHidden?: 'pause' | 'continue';
  /** Time without a call after which nothing is fetched until the next call, in milliseconds. 30 min. */
  maxIdleMs?: number;
  /** Requests in one cycle, including the first. 3. */
  maxAttempts?: number;
  /** The same: its name in the original clients. */
  maxRetryAttempts?: number;
  /** The first pause between attempts, which doubles, and the longest pause, in milliseconds. 500 and 8000. */
  retryBaseMs?: number;
  retryMaxMs?: number;
  /** A longer `Retry-After` ends the cycle at once, in milliseconds. 60 000. */
  maxRetryAfterMs?: number;
  /** Longest time for one attempt, in milliseconds. 10 000. */
  timeoutMs?: number;
  clock?: Clock;
  /** Returns a number from 0 to 1. */
  random?: () => number;
  eventTarget?: PageLike;
  logger?: Logger;
}

type Defaulted =
  | 'autoRefresh'
  | 'keepSession'
  | 'whenHidden'
  | 'maxIdleMs'
  | 'maxAttempts'
  | 'retryBaseMs'
  | 'retryMaxMs'
  | 'maxRetryAfterMs'
  | 'timeoutMs'
  | 'clock'
  | 'random'
  | 'logger'
  | 'source'
  | 'refreshThresholdSeconds';

/** Options with every default filled in. */
export type Settings = Required<Pick<TokenManagerOptions, Defaulted>> & { page: PageLike | undefined };

/** Returns `options` without entries that are `undefined`, which would hide a default. */
export function defined<T extends object>(options: T): T {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as T;
}

/** Fills in the defaults. Looks for the page only now, so that an import touches nothing. */
export function settings(o: TokenManagerOptions): Settings {
  // Workers have `addEventListener`, too, but no page.
  const page = typeof document === 'object' ? (globalThis as PageLike & typeof globalThis) : undefined;
  return {
    source: o.source ?? fromBroker(o),
    keepSession: true,
    refreshThresholdSeconds: 30,
    autoRefresh: o.enableAutoRefresh ?? true,
    whenHidden: 'pause',
    maxIdleMs: 1_800_000,
    maxAttempts: o.maxRetryAttempts ?? 3,
    retryBaseMs: 500,
    retryMaxMs: 8000,
    maxRetryAfterMs: 60_000,
    timeoutMs: 10_000,
    clock: systemClock,
    random: Math.random,
    page: o.eventTarget ?? page,
    logger: { warn: console.warn },
    ...defined(o),
  };
}
