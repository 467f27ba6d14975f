// One cycle of attempts: asks the source, gives up on a hanging one, pauses and asks again.
import { type Held, question, type TokenResponse } from './answer.js';
import { checkAborted, pause } from './clock.js';
import { failure, TokenError } from './errors.js';
import type { Settings } from './options.js';
import type { SourceContext } from './sources.js';

/** Lower bound for every wait, in milliseconds: less would be a request loop. */
export const LEAST_WAIT_MS = 1000;

/** Called for a failed attempt. The next one comes after `wait` milliseconds, or never. */
export type Failed = (attempt: number, error: TokenError, wait?: number) => void;

/** Asks until there is a token, the attempts are used up, or another attempt would not help. */
export async function mint(
  settings: Settings,
  context: Omit<SourceContext, 'attempt'>,
  warn: (message: string) => void,
  begins: (attempt: number) => void,
  failed: Failed,
): Promise<Held> {
  const { clock, page } = settings;
  const { signal } = context;
  for (let attempt = 1; ; attempt++) {
    checkAborted(signal);
    begins(attempt);
    const read = question(settings, warn);
    const inner = new AbortController();
    let timer: unknown;
    try {
      if (page?.navigator?.onLine === false) throw new TokenError('offline');
      const answer = await new Promise<TokenResponse | string>((resolve, reject) => {
        // Also ends the wait for a source that ignores its signal.
        const stop = (error?: TokenError): void => {
          reject(error);
          inner.abort();
        };
        timer = clock.setTimeout(() => stop(new TokenError('timeout')), settings.timeoutMs);
        signal.addEventListener('abort', () => stop());
        // A source may return a plain value, whatever its type says.
        Promise.resolve(settings.source({ ...context, attempt, signal: inner.signal })).then(resolve, reject);
      });
      return read(answer);
    } catch (cause) {
      if (signal.aborted) throw cause;
      const error = failure(cause, 'server_error');
      error.attempt = attempt;
      const asked = error.retryAfterMs;
      const again = error.retryable && attempt < settings.maxAttempts && (asked ?? 0) <= settings.maxRetryAfterMs;
      const own = (Math.min(settings.retryMaxMs, settings.retryBaseMs * 2 ** (attempt - 1)) * (1 + settings.random())) / 2;
      const wait = asked === undefined ? own : Math.max(asked, LEAST_WAIT_MS);
      failed(attempt, error, again ? wait : undefined);
      if (!again) throw error;
      // A network that is back ends the client's own pause, never one that the broker asked for.
      await pause(clock, wait, signal, asked === undefined ? page : undefined);
    } finally {
      clock.clearTimeout(timer);
    }
  }
}
