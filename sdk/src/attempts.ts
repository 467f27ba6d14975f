// Owns one cycle of attempts: asking a source, giving up on one that hangs, waiting and asking again.
import { type Held, question } from './answer.js';
import { aborted, pause } from './clock.js';
import { failure, TokenError } from './errors.js';
import type { Settings } from './options.js';
import type { SourceContext } from './sources.js';

/** Least time that anybody can ask to wait for: less would be a loop of requests. */
export const LEAST_WAIT_MS = 1000;

/** An attempt begins or, with an error, failed; the next one comes after `wait` milliseconds, or never. */
export type Told = (attempt: number, error?: TokenError, wait?: number) => void;

/** Asks until there is a token, the attempts are used up, or trying again would not help. */
export async function mint(
  settings: Settings,
  context: Omit<SourceContext, 'attempt'>,
  warn: (message: string) => void,
  told: Told,
): Promise<Held> {
  const { clock, page } = settings;
  const { signal } = context;
  for (let attempt = 1; ; attempt++) {
    signal.throwIfAborted();
    told(attempt);
    const read = question(settings, warn);
    const inner = new AbortController();
    const timer = clock.setTimeout(() => inner.abort(new TokenError('timeout')), settings.timeoutMs);
    signal.addEventListener('abort', () => inner.abort());
    try {
      if (page?.navigator?.onLine === false) throw new TokenError('offline');
      // A source that ignores its signal is not waited for.
      return read(await Promise.race([settings.source({ ...context, attempt, signal: inner.signal }), aborted(inner.signal)]));
    } catch (cause) {
      if (signal.aborted) throw cause;
      const error = failure(cause, 'server_error');
      error.attempt = attempt;
      const asked = error.retryAfterMs;
      const again = error.retryable && attempt < settings.maxAttempts && (asked ?? 0) <= settings.maxRetryAfterMs;
      const own = (Math.min(settings.retryMaxMs, settings.retryBaseMs * 2 ** (attempt - 1)) * (1 + settings.random())) / 2;
      const wait = asked === undefined ? own : Math.max(asked, LEAST_WAIT_MS);
      told(attempt, error, again ? wait : undefined);
      if (!again) throw error;
      // A network that comes back ends our own pause, never one that the broker asked for.
      await pause(clock, wait, signal, asked === undefined ? page : undefined);
    } finally {
      clock.clearTimeout(timer);
    }
  }
}
