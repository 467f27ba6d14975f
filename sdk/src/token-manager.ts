/// <reference lib="esnext.disposable" preserve="true" />
// Owns the one token of a page: when to fetch, who waits for it, and what everybody is told.
import type { Held } from './answer.js';
import { LEAST_WAIT_MS, mint } from './attempts.js';
import { pause, stopwatch } from './clock.js';
import { TokenError } from './errors.js';
import { createListeners, type ListenOptions } from './events.js';
import { createFlight, type Flight } from './flight.js';
import { type RequestOptions, settings, type TokenManagerOptions } from './options.js';
import { createPresence, type Hold } from './presence.js';
import { IDLE, type Phase, type TokenEvents, type TokenSnapshot } from './snapshot.js';
import { below, type RefreshReason } from './sources.js';
import type { RealtimeToken } from './token.js';

/** Least time between two mints that nobody asked for. */
const FLOOR_MS = 5000;
/** How long callers share a failure that did not say how long to wait, and how long at most. */
const SHARED_FAILURE_MS = 5000;
const LONGEST_SHARED_MS = 60_000;
/** Longest timer: sleep and throttling delay it by little, and no lifetime overflows it. */
const TICK_MS = 15_000;

/** Always a valid token. Create it with `createTokenManager` or `getTokenManager`. Its functions need no `this`. */
export interface TokenManager extends Disposable {
  /** A token that is valid for a while. Waits only when the one at hand is not. */
  requestToken(options?: RequestOptions): Promise<RealtimeToken>;
  /** A new token, whatever is held. */
  refreshToken(options?: { signal?: AbortSignal }): Promise<RealtimeToken>;
  /** A key for an SDK: valid for 30 s, or for half of its life. */
  readonly getApiKey: () => Promise<string>;
  getSnapshot(): TokenSnapshot;
  /** Calls `listener` when the snapshot changes. When the last observer leaves, refreshing behind the scenes pauses. */
  subscribe(listener: () => void): () => void;
  on<K extends keyof TokenEvents>(type: K, listener: (event: TokenEvents[K]) => void, options?: ListenOptions): () => void;
  off<K extends keyof TokenEvents>(type: K, listener: (event: TokenEvents[K]) => void): void;
  /** The server refused this token: drop it. The next call fetches. */
  invalidate(reason?: string): void;
  /** The user has changed: drops the token, its session and a failure. Callers who wait get the next user's token. */
  forget(): void;
  /** A live connection: keeps the token fresh even when the page is hidden or idle. */
  hold(): Hold;
  /** Fetches nothing behind the scenes until `resume()`. Calls are still served. */
  pause(): void;
  resume(): void;
  updateOptions(options: Partial<TokenManagerOptions>): void;
  /** Ends it: waiting callers get `destroyed`, and nothing happens afterwards. */
  destroy(): void;
  getCurrentToken(): RealtimeToken | null;
  isTokenValid(minValidityMs?: number): boolean;
  /** Milliseconds that the token still lives, by elapsed time; 0 without one. */
  getTimeUntilExpiration(): number;
  /** Where the broker is. `calls` and `relay` are served by a broker that has these modes. */
  readonly urls: { token: string; calls: string; relay: string };
}

/** A manager of your own. */
export function createTokenManager(given: TokenManagerOptions = {}): TokenManager {
  let options = settings(given);
  const { on, off, emit, clear } = createListeners<TokenEvents>();
  let snapshot: TokenSnapshot = IDLE;
  let held: Held | null = null;
  /** The last token, for its session. */
  let previous: Held | null = null;
  let flight: Flight<Held> | null = null;
  /** What ended the last cycle, if it failed: how long it asked to wait, and when that was. */
  let failed: TokenError | null = null;
  let failureMs = 0;
  let sinceFailure = (): number => 0;
  let sinceMint = (): number => Infinity;
  /** Counts what `forget()` has ended. */
  let user = 0;
  /** What the phase is without a token. */
  let outcome: Phase = 'idle';
  let progress: Pick<TokenSnapshot, 'attempt' | 'nextAttemptAt'> = IDLE;
  /** True when a token that ends should be followed by another. */
  let wanted = false;
  /** Why the next token is fetched, when that is not what its caller says. */
  let why: RefreshReason | null = 'initial';
  let timer: unknown;
  const warned = new Set<string>();

  const { resting, used, stop, hold, observe, close } = createPresence(
    () => options,
    (online) => {
      // Before its failure is forgotten, which tells why a token ended.
      expire();
      // Whoever comes back may have signed in again, or found a network.
      if (failed && (waits() <= 0 || (online && !failed.status && !failed.retryAfterMs))) failed = null;
      check(online ? 'online' : 'resume');
    },
  );

  const warn = (message: string): void => {
    if (warned.has(message)) return;
    warned.add(message);
    options.logger.warn?.(message);
  };

  const left = (): number => Math.max(held?.left() ?? 0, 0);

  /** Milliseconds, of `most`, that a failure still keeps others from asking. */
  const waits = (most = Infinity): number => (failed ? Math.min(failureMs, most) - sinceFailure() : 0);

  const phase = (): Phase => {
    if (flight) return progress.nextAttemptAt ? 'backoff' : held ? 'refreshing' : 'requesting';
    if (previous && resting() === 'paused') return 'paused';
    return held ? 'ready' : outcome;
  };

  /** Makes the new state visible. Observers are called after it is complete, so they may call back. */
  const commit = (error = failed ?? (flight ? snapshot.error : null)): void => {
    const token = held?.token ?? null;
    const next: TokenSnapshot = {
      ...progress,
      phase: phase(),
      token,
      expiresAt: token?.expiresAt ?? null,
      refreshAt: held && !resting() ? held.token.expiresAt - held.leadMs : null,
      error,
    };
    if (Object.entries(next).every(([key, value]) => value === snapshot[key as keyof TokenSnapshot])) return;
    snapshot = Object.freeze(next);
    emit('stateChange', snapshot);
  };

  const drop = (next: Phase): void => {
    held = null;
    wanted = false;
    if (outcome !== 'destroyed') outcome = next;
    commit();
  };

  const land = (): void => {
    flight = null;
    progress = IDLE;
  };

  /** Ends a token whose time has come. */
  const expire = (): void => {
    const ended = held;
    if (!ended || left() > 0) return;
    const cause = resting() ?? (failed || flight ? 'refresh-failed' : 'paused');
    drop('expired');
    wanted = true;
    emit('tokenExpired', { expiredAt: ended.token.expiresAt, lateByMs: -ended.left(), cause });
  };

  /** Milliseconds until a refresh behind the scenes is due, `early` milliseconds before its time; Infinity when none is. */
  const due = (early = 0): number => {
    const willing = wanted && (!failed || (held && failed.retryable));
    if (!willing || flight || resting()) return Infinity;
    const lead = held ? Math.min(held.leadMs + early, held.token.lifetimeMs / 2) : 0;
    return Math.max(left() - lead, FLOOR_MS - sinceMint(), waits());
  };

  /** Looks at the time and at the page, and does what is due. `early` is how late the next look may come. */
  const check = (reason: RefreshReason = 'scheduled', early = 0): void => {
    expire();
    if (due(early) <= 0) behind(reason);
    commit();
    const { clock } = options;
    clock.clearTimeout(timer);
    const next = Math.min(held?.left() ?? Infinity, due());
    if (next === Infinity) return;
    const asked = Math.ceil(Math.min(next, TICK_MS));
    const since = stopwatch(clock);
    // A timer that came late tells that the next one may, too: a throttled page refreshes a little earlier.
    timer = clock.setTimeout(() => check(undefined, Math.min(since() - asked, 60_000)), asked);
  };

  const told = (attempt: number, error?: TokenError, wait?: number): void => {
    const { clock } = options;
    const nextAttemptAt = wait === undefined ? null : clock.wall() + wait;
    const willRetry = nextAttemptAt !== null;
    progress = { attempt, nextAttemptAt };
    if (error && !willRetry) {
      failed = error;
      failureMs = Math.max(error.retryAfterMs || SHARED_FAILURE_MS, LEAST_WAIT_MS);
      sinceFailure = stopwatch(clock);
      if (!held) outcome = 'failed';
      wanted = true;
      land();
    }
    commit(error);
    if (!error) return;
    emit('tokenError', { error, attempt, willRetry, nextAttemptAt });
    check();
  };

  const fetchToken = async (reason: RefreshReason, signal: AbortSignal): Promise<Held> => {
    const { clock } = options;
    // A clock that is set meanwhile is no latency.
    const began = clock.monotonic();
    const next = await mint(options, { reason, previous: previous?.token ?? null, owner: previous?.owner, signal }, warn, told);
    signal.throwIfAborted();
    failed = why = null;
    wanted = true;
    sinceMint = stopwatch(clock);
    // The longer of two, if both belong to the same user.
    const longer = held && held.left() > next.left() && held.owner === next.owner ? held : null;
    if (longer) warn('The new token ends sooner: kept the old.');
    else held = previous = next;
    land();
    commit();
    if (!longer) emit('tokenRefreshed', { token: next.token, reason, latencyMs: clock.monotonic() - began });
    check();
    return longer ?? next;
  };

  const start = (reason: RefreshReason): Flight<Held> => {
    const mine = createFlight(
      (signal) => fetchToken(why ?? reason, signal),
      () => {
        if (flight !== mine) return;
        land();
        check();
      },
    );
    flight = mine;
    commit();
    return mine;
  };

  /** Starts a flight that nobody has to wait for. */
  const behind = (reason: RefreshReason): void => {
    if (!flight) start(reason).join().catch(() => {});
  };

  /** Waits for `next`, but no longer than until that pauses after a failure, or until `old` is nearly over. */
  const nextOr = (old: Held, next: Promise<Held>): Promise<Held> => {
    const enough = new AbortController();
    const { signal } = enough;
    if (progress.nextAttemptAt) enough.abort();
    on('tokenError', ({ willRetry }) => willRetry && enough.abort(), { signal });
    const late = pause(options.clock, left() > 5000 ? left() - 5000 : left() / 2, signal).then(() => old);
    return Promise.race([next, late]).finally(() => enough.abort());
  };

  const handOut = (from: Held): RealtimeToken => {
    if (--from.uses <= 0 && from === held) drop('idle');
    return from.token;
  };

  /** `usual` is how long a token must live, unless that is more than half of its life. */
  const get = async ({ force, minValidityMs, signal }: RequestOptions = {}, usual = 5000): Promise<RealtimeToken> => {
    used();
    for (;;) {
      if (outcome === 'destroyed') throw new TokenError('destroyed');
      if (signal?.aborted) throw new TokenError('aborted', undefined, { cause: signal.reason });
      expire();
      const old = held;
      if (old && !force && left() > (minValidityMs ?? Math.min(usual, old.token.lifetimeMs / 2))) {
        if (left() <= old.leadMs && waits() <= 0 && sinceMint() >= FLOOR_MS) behind('demand');
        return handOut(old);
      }
      const asker = user;
      // Better an old token that still lives than none, unless the caller said how long it must live.
      const modest = !force && minValidityMs === undefined;
      try {
        if (!flight && !force && failed && waits(LONGEST_SHARED_MS) > 0) throw failed;
        const next = (flight ?? start(force ? 'forced' : 'demand')).join(signal);
        const got = await (modest && old ? nextOr(old, next) : next);
        // What was dropped meanwhile is of no use any more.
        if (got.uses > 0 && asker === user && (got !== old || got === held)) return handOut(got);
      } catch (error) {
        if (asker !== user || signal?.aborted) continue;
        if (!modest || !held || !left()) throw error;
        return handOut(held);
      }
    }
  };

  /** Ends all that belongs to a user. Callers who wait look again. */
  const forget = (next: Phase): void => {
    user++;
    flight?.cancel();
    land();
    previous = failed = null;
    why = 'initial';
    drop(next);
  };

  const destroy = (): void => {
    close();
    forget('destroyed');
    check();
    clear();
  };

  return {
    requestToken: (request) => get(request),
    refreshToken: (request) => get({ ...request, force: true }),
    getApiKey: async () => (await get({}, 30_000)).value,
    getSnapshot: () => snapshot,
    subscribe(listener) {
      const deaf = on('stateChange', listener);
      const gone = observe();
      return () => {
        gone();
        deaf();
      };
    },
    on,
    off,
    invalidate(reason = 'invalidated') {
      options.logger.debug?.(reason);
      why = 'invalidated';
      failed = null;
      drop('idle');
    },
    forget: () => forget('idle'),
    hold,
    pause: () => stop(true),
    resume: () => stop(false),
    updateOptions(more) {
      given = { ...given, ...more };
      options = settings(given);
      if (failed) {
        // What failed may work now, but a page that sets options in every render must not cause a request by each.
        sinceMint = stopwatch(options.clock);
        failed = null;
        wanted = !!held;
      }
      check();
    },
    destroy,
    [Symbol.dispose]: destroy,
    getCurrentToken: () => (held && left() ? held.token : null),
    isTokenValid: (minValidityMs = 0) => left() > minValidityMs,
    getTimeUntilExpiration: left,
    get urls() {
      const url = (path: string): string => {
        const joined = below(given, path);
        return typeof location === 'undefined' ? joined : new URL(joined, location.href).href;
      };
      return { token: url(given.tokenPath ?? '/token'), calls: url('/calls'), relay: url('/realtime').replace(/^http/, 'ws') };
    },
  };
}
