// Owns one cycle of attempts: asking a source, giving up on one that hangs, waiting and asking again.
import { type Answer, readAnswer } from './answer.js';
import { type Clock, pause, stopwatch } from './clock.js';
import { TokenError } from './errors.js';
import type { Settings } from './options.js';
import type { RefreshReason } from './sources.js';
import type { RealtimeToken } from './token.js';

/** A token that was read, and when it was asked for: its life counts from there, so it never seems longer than it is. */
export interface Minted extends Answer {
  /** Milliseconds since it was asked for. */
  age: () => number;
  /** The wall clock when it was asked for, in epoch milliseconds. */
  askedAt: number;
}

/** What a cycle works with. */
export interface Cycle {
  settings: Settings;
  reason: RefreshReason;
  previous: RealtimeToken | null;
  signal: AbortSignal;
  warn: (message: string) => void;
  /** An attempt failed; the next one comes after `wait` milliseconds, or never. */
  failed: (error: TokenError, wait: number | null) => void;
  /** An attempt begins. */
  begins: (attempt: number) => void;
}

/** Runs `work` with a signal that aborts with `outer` or after `ms`, and does not wait for work that ignores it. */
function bounded<T>(work: (signal: AbortSignal) => Promise<T>, clock: Clock, ms: number, outer: AbortSignal): Promise<T> {
  const inner = new AbortController();
  let timer: unknown;
  const aborted = (): void => inner.abort(new TokenError('aborted'));
  const stopped = new Promise<never>((_, reject) => {
    inner.signal.addEventListener('abort', () => reject(inner.signal.reason as TokenError));
    timer = clock.setTimeout(() => inner.abort(new TokenError('timeout')), ms);
    outer.addEventListener('abort', aborted);
  });
  return Promise.race([work(inner.signal), stopped]).finally(() => {
    clock.clearTimeout(timer);
    outer.removeEventListener('abort', aborted);
  });
}

/** Asks until there is a token, the attempts are used up, or trying again would not help. */
export async function mint({ settings, reason, previous, signal, warn, failed, begins }: Cycle): Promise<Minted> {
  const { clock, page } = settings;
  for (let attempt = 1; ; attempt++) {
    begins(attempt);
    const age = stopwatch(clock);
    const askedAt = clock.wall();
    try {
      if (page?.navigator?.onLine === false) throw new TokenError('offline');
      const ask = async (inner: AbortSignal): Promise<unknown> => settings.source({ reason, attempt, previous, signal: inner });
      const response = await bounded(ask, clock, settings.timeoutMs, signal);
      return { ...readAnswer(response, askedAt, warn), age, askedAt };
    } catch (cause) {
      if (signal.aborted) throw cause;
      const error = TokenError.is(cause) ? cause : new TokenError('network', undefined, { cause });
      error.attempt = attempt;
      const told = error.retryAfterMs;
      const backoff = Math.min(settings.retryMaxMs, settings.retryBaseMs * 2 ** (attempt - 1)) * (0.5 + settings.random() / 2);
      const again = error.retryable && attempt < settings.maxAttempts && (told ?? 0) <= settings.maxRetryAfterMs;
      const wait = told ?? backoff;
      failed(error, again ? wait : null);
      if (!again) throw error;
      // A network that comes back ends our own pause, never one that the broker asked for.
      await pause(clock, wait, signal, told === undefined ? page : undefined);
      if (signal.aborted) throw new TokenError('aborted');
    }
  }
}
