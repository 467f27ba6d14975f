/// <reference lib="esnext.disposable" preserve="true" />
// The token manager of a page: its public functions, and what the page and its user change.
import { type Clock, stopwatch } from './clock.js';
import { createCycle } from './cycle.js';
import { createDesk } from './desk.js';
import { createListeners, type ListenOptions } from './events.js';
import { createHandles } from './handles.js';
import { changed, forgiven, forgotten, invalidated } from './machine.js';
import { type RequestOptions, settings, type TokenManagerOptions } from './options.js';
import { createPresence, type Hold } from './presence.js';
import type { TokenEvents, TokenSnapshot } from './snapshot.js';
import { below, handlesOf } from './sources.js';
import type { RealtimeToken } from './token.js';

/** A source of valid tokens. Create it with `createTokenManager` or `getTokenManager`. Its functions need no `this`. */
export interface TokenManager extends Disposable {
  /** Returns a token that is valid for a while. Waits only when the current one is not. */
  requestToken(options?: RequestOptions): Promise<RealtimeToken>;
  /** Fetches a new token, whatever the current one is. */
  refreshToken(options?: { signal?: AbortSignal }): Promise<RealtimeToken>;
  /** Returns a key for an SDK: valid for at least 30 s, or for half of its life. */
  readonly getApiKey: () => Promise<string>;
  /** The same, with all that is known about the key: where to connect with it, for example. */
  readonly takeToken: () => Promise<RealtimeToken>;
  getSnapshot(): TokenSnapshot;
  /** Calls `listener` when the snapshot changes. When the last observer leaves, background refreshes pause. */
  subscribe(listener: () => void): () => void;
  on<K extends keyof TokenEvents>(type: K, listener: (event: TokenEvents[K]) => void, options?: ListenOptions): () => void;
  off<K extends keyof TokenEvents>(type: K, listener: (event: TokenEvents[K]) => void): void;
  /** Drops a token that a server refused. The next call fetches a new one. */
  invalidate(reason?: string): void;
  /** Drops the token, its session and a failure, because the user has changed. Waiting callers get the next user's token. */
  forget(): void;
  /** Keeps the token fresh even when the page is hidden or idle, until the hold is released. */
  hold(): Hold;
  /** Stops background refreshes until `resume()`. Calls are still served. */
  pause(): void;
  resume(): void;
  updateOptions(options: Partial<TokenManagerOptions>): void;
  /** Ends the manager. Waiting callers get `destroyed`, and nothing happens afterwards. */
  destroy(): void;
  getCurrentToken(): RealtimeToken | null;
  isTokenValid(minValidityMs?: number): boolean;
  /** Returns how long the token still lives in milliseconds, by elapsed time. 0 without a token. */
  getTimeUntilExpiration(): number;
  /** The endpoints of the broker. `calls` and `relay` need a broker with these modes. */
  readonly urls: { token: string; calls: string; relay: string };
  /** The clock of the options, which connections share. */
  readonly clock: Clock;
}

/** Creates a manager. */
export function createTokenManager(given: TokenManagerOptions = {}): TokenManager {
  let options = settings(given);
  const { on, off, emit, clear } = createListeners<TokenEvents>();
  const handles = createHandles(() => (options.keepSession ? options.page : undefined));
  const { resting, used, stop, hold, observe, close } = createPresence(
    () => options,
    (type) => {
      const { keep, token } = state().previous ?? {};
      if (/hide|freeze/.test(type)) handles.save(keep, token?.sessionId);
      if (/show|resume/.test(type)) handles.drop(`${keep}`);
      // First, because the cause of an expiry depends on the failure.
      expire();
      const { failed, waits } = state();
      const online = type === 'online';
      // The user may have signed in again, or the network may be back.
      if (failed && (waits() <= 0 || (online && !failed.status && !failed.retryAfterMs))) move(forgiven());
      check(online ? 'online' : 'resume');
    },
  );
  const cycle = createCycle(() => options, resting, handles.take, emit);
  const { state, snapshot, move, left, expire, check } = cycle;

  const get = createDesk(() => options, on, used, cycle);

  /** Ends everything that belongs to a user. Waiting callers look again. */
  const forget = (rest?: 'destroyed'): void => {
    state().flight?.cancel();
    handles.drop(handlesOf(given));
    move(forgotten(state(), rest));
  };

  const destroy = (): void => {
    close();
    forget('destroyed');
    check();
    clear();
  };

  const takeToken = (): Promise<RealtimeToken> => get({}, 30_000);

  return {
    requestToken: (request) => get(request),
    refreshToken: (request) => get({ ...request, force: true }),
    getApiKey: async () => (await takeToken()).value,
    takeToken,
    getSnapshot: snapshot,
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
      move(invalidated());
    },
    forget: () => forget(),
    hold,
    pause: () => stop(true),
    resume: () => stop(false),
    updateOptions(more) {
      given = { ...given, ...more };
      options = settings(given);
      // What failed may work now. The time since the last mint starts anew, because a page may set options in every render.
      if (state().failed) move(changed(state(), stopwatch(options.clock)));
      check();
    },
    destroy,
    [Symbol.dispose]: destroy,
    getCurrentToken: () => (left() ? state().held?.token ?? null : null),
    isTokenValid: (minValidityMs = 0) => left() > minValidityMs,
    getTimeUntilExpiration: left,
    get clock() {
      return options.clock;
    },
    get urls() {
      const url = (path: string): string => {
        const joined = below(given, path);
        return typeof location === 'undefined' ? joined : new URL(joined, location.href).href;
      };
      return { token: url(given.tokenPath ?? '/token'), calls: url('/calls'), relay: url('/realtime').replace(/^http/, 'ws') };
    },
  };
}
