/// <reference lib="esnext.disposable" preserve="true" />
// Owns the one token of a page: when to fetch, who waits for it, and what everybody is told.
import { LEAST_WAIT_MS, mint, type Minted } from './attempts.js';
import { stopwatch } from './clock.js';
import { TokenError } from './errors.js';
import { Listeners, type ListenOptions } from './events.js';
import { Flight } from './flight.js';
import { type Held, holding, nextOr } from './held.js';
import { type RequestOptions, type Settings, settings, type TokenManagerOptions } from './options.js';
import { type Hold, Presence } from './presence.js';
import { IDLE, type Phase, type TokenEvents, type TokenSnapshot } from './snapshot.js';
import { owners, type RefreshReason } from './sources.js';
import type { RealtimeToken } from './token.js';

/** Least time between two mints that nobody asked for. */
const FLOOR_MS = 5000;
/** How long callers share a failure that did not say how long to wait, and how long at most. */
const SHARED_FAILURE_MS = 5000;
const LONGEST_SHARED_MS = 60_000;
/** Longest timer: sleep and throttling delay it by little, and no lifetime overflows it. */
const TICK_MS = 15_000;

/** The state of the attempts when there are none. */
const RESTING: Pick<TokenSnapshot, 'attempt' | 'nextAttemptAt'> = { attempt: 0, nextAttemptAt: null };

/** Always a valid token. Create it with `createTokenManager` or `getTokenManager`. */
export class TokenManager implements Disposable {
  #given: TokenManagerOptions;
  #settings: Settings;
  readonly #listeners = new Listeners<TokenEvents>();
  #snapshot: TokenSnapshot = IDLE;

  #held: Held | null = null;
  /** The last token, for its session. */
  #previous: RealtimeToken | null = null;
  #flight: Flight<Held> | null = null;
  /** `wait`: milliseconds until the next refresh behind the scenes; `shared`: until callers cause a request again. */
  #failure: { error: TokenError; wait: () => number; shared: () => number } | null = null;
  /** Counts what `forget()` has ended. */
  #user = 0;
  /** What the phase is without a token. */
  #outcome: Phase = 'idle';
  #progress = RESTING;
  #sinceMint: () => number = () => Infinity;
  /** True when a token that ends should be followed by another. */
  #wanted = false;
  /** Why the next token is fetched, when that is not what its caller says. */
  #reason: RefreshReason | null = 'initial';
  #timer: unknown;
  readonly #presence = new Presence(() => this.#settings, (online) => this.#woken(online));
  readonly #warned = new Set<string>();

  constructor(options: TokenManagerOptions = {}) {
    this.#given = options;
    this.#settings = settings(options);
  }

  /** A token that is valid for a while. Waits only when the one at hand is not. */
  requestToken(options: RequestOptions = {}): Promise<RealtimeToken> {
    return this.#get(options, options.minValidityMs ?? 5000);
  }

  /** A new token, whatever is held. */
  refreshToken(options: { signal?: AbortSignal } = {}): Promise<RealtimeToken> {
    return this.requestToken({ ...options, force: true });
  }

  /** A key for an SDK: valid for 30 s, or for half of its life. Bound, so that it can be handed over as it is. */
  readonly getApiKey: () => Promise<string> = async () => (await this.#get({}, 30_000, true)).value;

  getSnapshot(): TokenSnapshot {
    return this.#snapshot;
  }

  /** Calls `listener` when the snapshot changes. When the last observer leaves, refreshing behind the scenes pauses. */
  subscribe(listener: () => void): () => void {
    if (this.#outcome === 'destroyed') return () => {};
    const off = this.#listeners.on('stateChange', () => listener());
    const leave = this.#presence.observe();
    let here = true;
    return () => {
      if (here) leave();
      here = false;
      off();
    };
  }

  on<K extends keyof TokenEvents>(type: K, listener: (event: TokenEvents[K]) => void, options?: ListenOptions): () => void {
    return this.#outcome === 'destroyed' ? () => {} : this.#listeners.on(type, listener, options);
  }

  off<K extends keyof TokenEvents>(type: K, listener: (event: TokenEvents[K]) => void): void {
    this.#listeners.off(type, listener);
  }

  /** The server refused this token: drop it. The next call fetches. */
  invalidate(reason = 'invalidated'): void {
    if (this.#outcome === 'destroyed') return;
    this.#settings.logger.debug?.(reason);
    this.#reason = 'invalidated';
    this.#failure = null;
    this.#drop('idle');
    this.#commit();
  }

  /** The user has changed: drops the token, its session and a failure. Callers who wait get the next user's token. */
  forget(): void {
    if (this.#outcome === 'destroyed') return;
    this.#user++;
    this.#flight?.cancel(new TokenError('aborted'));
    this.#land();
    this.#previous = this.#failure = null;
    this.#reason = 'initial';
    this.#drop('idle');
    this.#commit();
  }

  /** A live connection: keeps the token fresh even when the page is hidden or idle. */
  hold(): Hold {
    return this.#presence.hold();
  }

  /** Fetches nothing behind the scenes until `resume()`. Calls are still served. */
  pause(): void {
    this.#presence.stop(true);
  }

  resume(): void {
    this.#presence.stop(false);
  }

  updateOptions(options: Partial<TokenManagerOptions>): void {
    this.#given = { ...this.#given, ...options };
    this.#settings = settings(this.#given);
    if (this.#failure) {
      // What failed may work now, but a page that sets options in every render must not cause a request by each.
      this.#sinceMint = stopwatch(this.#settings.clock);
      this.#failure = null;
      if (!this.#held) this.#wanted = false;
    }
    this.#check('scheduled');
  }

  /** Ends it: waiting callers get `destroyed`, and nothing happens afterwards. */
  destroy(): void {
    if (this.#outcome === 'destroyed') return;
    this.#flight?.cancel(new TokenError('destroyed'));
    this.#land();
    this.#previous = null;
    this.#drop('destroyed');
    this.#presence.close();
    this.#commit();
    this.#listeners.clear();
  }

  [Symbol.dispose](): void {
    this.destroy();
  }

  getCurrentToken(): RealtimeToken | null {
    return this.isTokenValid() ? (this.#held?.token ?? null) : null;
  }

  isTokenValid(minValidityMs = 0): boolean {
    return this.getTimeUntilExpiration() > minValidityMs;
  }

  /** Milliseconds that the token still lives, by elapsed time; 0 without one. */
  getTimeUntilExpiration(): number {
    return Math.max(this.#held?.left() ?? 0, 0);
  }

  /** Where the broker is. `calls` and `relay` are served by a broker that has these modes. */
  get urls(): { token: string; calls: string; relay: string } {
    const { baseUrl = '', tokenPath = '/token' } = this.#given;
    const url = (path: string): string => {
      const joined = baseUrl.replace(/\/$/, '') + path;
      return typeof location === 'undefined' ? joined : new URL(joined, location.href).href;
    };
    return { token: url(tokenPath), calls: url('/calls'), relay: url('/realtime').replace(/^http/, 'ws') };
  }

  async #get({ force = false, minValidityMs, signal }: RequestOptions, atLeast: number, forKey = false): Promise<RealtimeToken> {
    this.#presence.used();
    for (;;) {
      if (this.#outcome === 'destroyed') throw new TokenError('destroyed');
      if (signal?.aborted) throw new TokenError('aborted', undefined, { cause: signal.reason });
      this.#expire();
      const held = this.#held;
      const needed = forKey && held ? Math.min(atLeast, held.token.lifetimeMs / 2) : atLeast;
      if (held && !force && held.left() > needed) {
        if (held.left() <= held.leadMs && !((this.#failure?.wait() ?? 0) > 0) && this.#sinceMint() >= FLOOR_MS) this.#behind('demand');
        return this.#handOut(held);
      }
      const user = this.#user;
      // Better an old token that still lives than none, unless the caller said how long it must live.
      const modest = !force && minValidityMs === undefined;
      try {
        if (!this.#flight && !force && this.#failure && this.#failure.shared() > 0) throw this.#failure.error;
        const got = await this.#wait(this.#flight ?? this.#start(force ? 'forced' : 'demand'), modest ? held : null, signal);
        // What was dropped meanwhile is of no use any more.
        if (got.uses > 0 && user === this.#user && (got !== held || got === this.#held)) return this.#handOut(got);
      } catch (error) {
        const { code } = error as TokenError;
        if (user !== this.#user && code === 'aborted' && !signal?.aborted) continue;
        const alive = this.#held;
        const serves = alive && alive.left() > 0 && modest;
        if (!serves || code === 'aborted' || code === 'destroyed') throw error;
        return this.#handOut(alive);
      }
    }
  }

  /** Waits for `flight`; when `held` would do, only until that pauses after a failure or `held` is nearly over. */
  #wait(flight: Flight<Held>, held: Held | null, signal: AbortSignal | undefined): Promise<Held> {
    const joined = flight.join(signal);
    if (!held) return joined;
    return nextOr(held, joined, this.#settings.clock, (enough) => {
      if (this.#progress.nextAttemptAt) enough();
      return this.#listeners.on('tokenError', ({ willRetry }) => willRetry && enough());
    });
  }

  #handOut(held: Held): RealtimeToken {
    if (--held.uses <= 0 && held === this.#held) {
      this.#drop('idle');
      this.#commit();
    }
    return held.token;
  }

  #drop(outcome: Phase): void {
    this.#held = null;
    this.#wanted = false;
    this.#outcome = outcome;
    this.#schedule();
  }

  #start(reason: RefreshReason): Flight<Held> {
    this.#presence.listen();
    const flight = new Flight<Held>(
      (signal) => this.#fetch(this.#reason ?? reason, signal),
      () => {
        if (this.#flight !== flight) return;
        this.#land();
        this.#check('scheduled');
      },
    );
    this.#flight = flight;
    this.#commit();
    return flight;
  }

  /** Starts a flight that nobody has to wait for. */
  #behind(reason: RefreshReason): void {
    if (!this.#flight) this.#start(reason).join().catch(() => {});
  }

  #land(): void {
    this.#flight = null;
    this.#progress = RESTING;
  }

  async #fetch(reason: RefreshReason, signal: AbortSignal): Promise<Held> {
    signal.throwIfAborted();
    const settings = this.#settings;
    // A clock that is set meanwhile is no latency.
    const began = settings.clock.monotonic();
    const minted = await mint({
      settings,
      reason,
      previous: this.#previous,
      signal,
      warn: (message) => this.#warn(message),
      told: (attempt, error, wait) => this.#told(attempt, error, wait),
    });
    signal.throwIfAborted();
    const before = this.#held;
    const held = this.#accept(minted);
    this.#land();
    this.#commit();
    if (held !== before) this.#listeners.emit('tokenRefreshed', { token: held.token, reason, latencyMs: settings.clock.monotonic() - began });
    this.#check('scheduled');
    return held;
  }

  #accept(minted: Minted): Held {
    this.#failure = this.#reason = null;
    this.#wanted = true;
    this.#sinceMint = stopwatch(this.#settings.clock);
    const next = holding(minted, this.#settings);
    // The longer of two, if both belong to the same user.
    if (this.#held && this.#held.left() > next.left() && owners.get(this.#held.token) === minted.owner) {
      this.#warn('The new token would end sooner than the old one, which is kept.');
      return this.#held;
    }
    this.#previous = next.token;
    return (this.#held = next);
  }

  #told(attempt: number, error?: TokenError, wait?: number | null): void {
    const { clock } = this.#settings;
    const nextAttemptAt = wait == null ? null : clock.wall() + wait;
    this.#progress = { attempt, nextAttemptAt };
    if (error && wait === null) {
      const since = stopwatch(clock);
      const wait = Math.max(error.retryAfterMs || SHARED_FAILURE_MS, LEAST_WAIT_MS);
      this.#failure = { error, wait: () => wait - since(), shared: () => Math.min(wait, LONGEST_SHARED_MS) - since() };
      if (!this.#held) this.#outcome = 'failed';
      this.#wanted = true;
      this.#land();
    }
    this.#commit(error);
    if (!error) return;
    this.#listeners.emit('tokenError', { error, attempt, willRetry: wait !== null, nextAttemptAt });
    this.#check('scheduled');
  }

  /** Milliseconds until a refresh behind the scenes is due; Infinity when none is. */
  #due(): number {
    const failed = this.#failure;
    const wanted = this.#held ? !failed || failed.error.retryable : this.#wanted && !failed;
    if (!wanted || this.#flight || this.#presence.resting()) return Infinity;
    const wait = this.#held ? this.#held.left() - this.#held.leadMs : 0;
    return Math.max(wait, FLOOR_MS - this.#sinceMint(), failed?.wait() ?? 0);
  }

  /** Ends a token whose time has come. */
  #expire(): void {
    const held = this.#held;
    const left = held?.left() ?? 1;
    if (!held || left > 0) return;
    const cause = this.#presence.resting() ?? (this.#failure || this.#flight ? 'refresh-failed' : 'paused');
    const wanted = this.#wanted;
    this.#drop('expired');
    this.#wanted = wanted;
    this.#commit();
    this.#listeners.emit('tokenExpired', { expiredAt: held.token.expiresAt, lateByMs: -left, cause });
  }

  /** Looks at the time and at the page, and does what is due. `early` is how late the next look may come. */
  #check(reason: RefreshReason, early = 0): void {
    this.#expire();
    const due = this.#due();
    const held = this.#held;
    const late = held && !this.#failure && this.#sinceMint() >= FLOOR_MS && held.left() <= held.token.lifetimeMs / 2;
    const soon = late && due <= early;
    if (due <= 0 || soon) this.#behind(reason);
    this.#commit();
    this.#schedule();
  }

  #schedule(): void {
    const { clock } = this.#settings;
    clock.clearTimeout(this.#timer);
    const next = Math.min(this.#held?.left() ?? Infinity, this.#due());
    if (next === Infinity) return;
    const asked = Math.ceil(Math.min(Math.max(next, 0), TICK_MS));
    const since = stopwatch(clock);
    // A timer that came late tells that the next one may, too: a throttled page refreshes a little earlier.
    this.#timer = clock.setTimeout(() => this.#check('scheduled', Math.min(since() - asked, 60_000)), asked);
  }

  #woken(online: boolean): void {
    const failed = this.#failure;
    // Whoever comes back may have signed in again, or found a network.
    if (failed && (failed.wait() <= 0 || (online && /^(network|offline|timeout)$/.test(failed.error.code)))) this.#failure = null;
    this.#check(online ? 'online' : 'resume');
  }

  #phase(): Phase {
    if (this.#flight) return this.#progress.nextAttemptAt ? 'backoff' : this.#held ? 'refreshing' : 'requesting';
    if (this.#previous && this.#presence.resting() === 'paused') return 'paused';
    return this.#held ? 'ready' : this.#outcome;
  }

  /** Makes the new state visible. Observers are called after it is complete, so they may call back. */
  #commit(error: TokenError | null = this.#failure?.error ?? (this.#flight ? this.#snapshot.error : null)): void {
    const held = this.#held;
    const token = held?.token ?? null;
    const next: TokenSnapshot = {
      phase: this.#phase(),
      token,
      expiresAt: token?.expiresAt ?? null,
      refreshAt: held && !this.#presence.resting() ? held.token.expiresAt - held.leadMs : null,
      error,
      ...this.#progress,
    };
    const before = this.#snapshot;
    if ((Object.keys(next) as (keyof TokenSnapshot)[]).every((key) => Object.is(next[key], before[key]))) return;
    this.#snapshot = Object.freeze(next);
    this.#listeners.emit('stateChange', this.#snapshot);
  }

  #warn(message: string): void {
    if (this.#warned.has(message)) return;
    this.#warned.add(message);
    this.#settings.logger.warn?.(message);
  }
}
