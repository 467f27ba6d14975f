// Owns a token that is held: how long it lives, when the next is due, and when it is good enough for who waits for that.
import type { Minted } from './attempts.js';
import type { Clock } from './clock.js';
import type { Settings } from './options.js';
import { owners } from './sources.js';
import { RealtimeToken } from './token.js';

export interface Held {
  token: RealtimeToken;
  /** Milliseconds until its end, by elapsed time. */
  left: () => number;
  leadMs: number;
  uses: number;
}

/** What was minted, to be held. */
export function holding(minted: Minted, { refreshThresholdSeconds, random }: Settings): Held {
  const { lifetimeMs, refreshInMs, age, uses, owner } = minted;
  // Stretched by chance, so that a wall of screens does not fetch in the same second.
  const lead = refreshInMs ? Math.max(lifetimeMs - refreshInMs, 1000) : refreshThresholdSeconds * (1000 + random() * 100);
  const token = new RealtimeToken(minted);
  if (owner !== undefined) owners.set(token, owner);
  return { token, left: () => lifetimeMs - age(), leadMs: Math.min(lead, lifetimeMs / 2), uses };
}

/** Waits for `next`, but no longer than until that pauses, which `pauses` tells, or until `held` is nearly over. */
export function nextOr(held: Held, next: Promise<Held>, clock: Clock, pauses: (enough: () => void) => () => void): Promise<Held> {
  const left = held.left();
  return new Promise((resolve, reject) => {
    const enough = (): void => resolve(held);
    const off = pauses(enough);
    const timer = clock.setTimeout(enough, left > 5000 ? left - 5000 : left / 2);
    const done = (): void => {
      off();
      clock.clearTimeout(timer);
    };
    next.finally(done).then(resolve, reject);
  });
}
