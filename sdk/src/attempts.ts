// Owns one cycle of attempts: asking a source, giving up on one that hangs, waiting and asking again.
import { type Answer, readAnswer } from './answer.js';
import { aborted, pause, stopwatch } from './clock.js';
import { failure, TokenError } from './errors.js';
import type { Settings } from './options.js';
import { owners, type RefreshReason } from './sources.js';
import type { RealtimeToken } from './token.js';

/** Least time that anybody can ask to wait for: less would be a loop of requests. */
export const LEAST_WAIT_MS = 1000;

/** A token that was read, and its age: its life counts from the question, so it never seems longer than it is. */
export interface Minted extends Answer {
  /** Milliseconds since it was asked for. */
  age: () => number;
  /** End of life in epoch milliseconds on this device's clock. */
  expiresAt: number;
  /** See {@link owners}. */
  owner: string | null | undefined;
}

/** What a cycle works with. */
export interface Cycle {
  settings: Settings;
  reason: RefreshReason;
  previous: RealtimeToken | null;
  signal: AbortSignal;
  warn: (message: string) => void;
  /** An attempt begins or, with an error, failed; the next one comes after `wait` milliseconds, or never. */
  told: (attempt: number, error?: TokenError, wait?: number | null) => void;
}

/** Asks until there is a token, the attempts are used up, or trying again would not help. */
export async function mint({ settings, reason, previous, signal, warn, told }: Cycle): Promise<Minted> {
  const { clock, page } = settings;
  for (let attempt = 1; ; attempt++) {
    told(attempt);
    const age = stopwatch(clock);
    const askedAt = clock.wall();
    const inner = new AbortController();
    const timer = clock.setTimeout(() => inner.abort(new TokenError('timeout')), settings.timeoutMs);
    signal.addEventListener('abort', () => inner.abort(signal.reason));
    try {
      if (page?.navigator?.onLine === false) throw new TokenError('offline');
      // A source that ignores its signal is not waited for.
      const response = await Promise.race([settings.source({ reason, attempt, previous, signal: inner.signal }), aborted(inner.signal)]);
      const answer = readAnswer(response, askedAt, warn);
      return { ...answer, age, expiresAt: askedAt + answer.lifetimeMs, owner: owners.get(Object(response)) };
    } catch (cause) {
      if (signal.aborted) throw cause;
      const error = failure(cause, 'server_error', 'The source failed.');
      error.attempt = attempt;
      const asked = error.retryAfterMs;
      const again = error.retryable && attempt < settings.maxAttempts && (asked ?? 0) <= settings.maxRetryAfterMs;
      const pauseMs = (Math.min(settings.retryMaxMs, settings.retryBaseMs * 2 ** (attempt - 1)) * (1 + settings.random())) / 2;
      const wait = asked === undefined ? pauseMs : Math.max(asked, LEAST_WAIT_MS);
      told(attempt, error, again ? wait : null);
      if (!again) throw error;
      // A network that comes back ends our own pause, never one that the broker asked for.
      await pause(clock, wait, signal, asked === undefined ? page : undefined);
      signal.throwIfAborted();
    } finally {
      clock.clearTimeout(timer);
    }
  }
}
