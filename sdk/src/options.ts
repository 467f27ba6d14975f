// Owns the options of a manager and their defaults.
import { type Clock, systemClock } from './clock.js';
import { type BrokerOptions, fromBroker, type TokenSource } from './sources.js';

/** Where messages go. Never receives a secret. */
export interface Logger {
  /** Why a token was invalidated. */
  debug?(message: string): void;
  /** What is wrong with an answer or an option; each message once. */
  warn?(message: string): void;
}

/** A window, or something that dispatches its events: the page whose visibility and network count. */
export interface PageLike extends EventTarget {
  readonly document?: { readonly visibilityState: string };
  readonly navigator?: { readonly onLine: boolean };
}

/** How to ask for a token. */
export interface RequestOptions {
  /** Wait for a new one, whatever is held. */
  force?: boolean;
  /** Least time that it must still live, in milliseconds. 5000 or half of its life, and less when a refresh fails. */
  minValidityMs?: number;
  /** Stops waiting. The request goes on while others wait for it. */
  signal?: AbortSignal;
}

/** What can be set. Every option has a default. */
export interface TokenManagerOptions extends BrokerOptions {
  /** Instead of the broker at `baseUrl`. */
  source?: TokenSource;
  /** Seconds before the end of life at which a refresh starts; never more than half of the life. 30. */
  refreshThresholdSeconds?: number;
  /** Refresh behind the scenes. False fetches only when somebody asks. True. */
  autoRefresh?: boolean;
  /** The same; the name in the original clients. */
  enableAutoRefresh?: boolean;
  /** Whether to refresh while the page is hidden and nothing holds the manager. `pause`. */
  whenHidden?: 'pause' | 'continue';
  /** After so long without a call, nothing is fetched until the next one, in milliseconds. 30 min. */
  maxIdleMs?: number;
  /** Requests in one cycle, the first included. 3. */
  maxAttempts?: number;
  /** The same; the name in the original clients. */
  maxRetryAttempts?: number;
  /** The first pause between attempts, which doubles, and the longest, in milliseconds. 500 and 8000. */
  retryBaseMs?: number;
  retryMaxMs?: number;
  /** A longer `Retry-After` ends the cycle instead of being waited for, in milliseconds. 60 000. */
  maxRetryAfterMs?: number;
  /** Longest time for one attempt, in milliseconds. 10 000. */
  timeoutMs?: number;
  clock?: Clock;
  /** From 0 to 1. */
  random?: () => number;
  eventTarget?: PageLike;
  logger?: Logger;
}

type Defaulted =
  | 'autoRefresh'
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

/** `options` without the entries that say `undefined`, which would hide a default. */
export function defined<T extends object>(options: T): T {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as T;
}

/** Fills in what was not given. Asks for the page only now, so that importing touches nothing. */
export function settings(o: TokenManagerOptions): Settings {
  const page = typeof addEventListener === 'function' ? (globalThis as PageLike & typeof globalThis) : undefined;
  return {
    source: fromBroker(o),
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
