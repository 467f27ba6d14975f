// Serves the callers of a manager: from the current token, or from the next one.
import type { Held } from './answer.js';
import { pause } from './clock.js';
import type { Cycle } from './cycle.js';
import { TokenError } from './errors.js';
import type { Listeners } from './events.js';
import { usedUp } from './machine.js';
import type { RequestOptions, Settings } from './options.js';
import type { TokenEvents } from './snapshot.js';
import type { RealtimeToken } from './token.js';

/** Longest time for which callers share a failure, in milliseconds. */
const LONGEST_SHARED_MS = 60_000;
/** How long a token must still live by default, and when a waiting caller gets the old one, in milliseconds. */
const USUAL_MS = 5000;

/** Returns the function that gets a token. Its `usual` is how long the token must live, but at most half of its life. */
export function createDesk(
  options: () => Settings,
  on: Listeners<TokenEvents>['on'],
  used: () => void,
  { state, move, left, expire, start, renew }: Cycle,
): (request?: RequestOptions, usual?: number) => Promise<RealtimeToken> {
  /** Waits for `next` until that pauses after a failure or `old` is nearly over. */
  const nextOr = (old: Held, next: Promise<Held>): Promise<Held> => {
    const enough = new AbortController();
    const { signal } = enough;
    if (state().nextAttemptAt) enough.abort();
    on('tokenError', ({ willRetry }) => willRetry && enough.abort(), { signal });
    const late = pause(options().clock, left() > USUAL_MS ? left() - USUAL_MS : left() / 2, signal).then(() => old);
    return Promise.race([next, late]).finally(() => enough.abort());
  };

  const handOut = (from: Held): RealtimeToken => {
    if (--from.uses <= 0 && from === state().held) move(usedUp());
    return from.token;
  };

  return async ({ force, minValidityMs, signal }: RequestOptions = {}, usual = USUAL_MS): Promise<RealtimeToken> => {
    used();
    for (;;) {
      expire();
      const { held: old, flight, failed, waits, user, rest } = state();
      if (rest === 'destroyed') throw new TokenError(rest);
      if (signal?.aborted) throw new TokenError('aborted', undefined, { cause: signal.reason });
      if (old && !force && left() > (minValidityMs ?? Math.min(usual, old.token.lifetimeMs / 2))) {
        if (left() <= old.leadMs) renew('demand');
        return handOut(old);
      }
      // An old token that still lives is better than none, unless the caller said how long it must live.
      const modest = !force && minValidityMs === undefined;
      try {
        if (!flight && !force && failed && waits(LONGEST_SHARED_MS) > 0) throw failed;
        const next = (flight ?? start(force ? 'forced' : 'demand')).join(signal);
        const got = await (modest && old ? nextOr(old, next) : next);
        // A token that was dropped meanwhile is useless.
        if (got.uses > 0 && user === state().user && (got !== old || got === state().held)) return handOut(got);
      } catch (error) {
        if (user !== state().user || signal?.aborted) continue;
        const { held } = state();
        if (!modest || !held || !left()) throw error;
        return handOut(held);
      }
    }
  };
}
