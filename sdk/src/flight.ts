// Owns one request that many callers share: who still waits for it, and that it ends when nobody does.
import { aborted } from './clock.js';
import { TokenError } from './errors.js';

/** Work in progress. */
export interface Flight<T> {
  /** Waits for the outcome until `signal` aborts. Without a signal it is wanted for good. */
  join(signal?: AbortSignal): Promise<T>;
  /** Ends it for everybody. */
  cancel(error: TokenError): void;
}

/** Starts `work` in a moment of its own. `deserted` is called when the last caller has left. */
export function createFlight<T>(work: (signal: AbortSignal) => Promise<T>, deserted: () => void): Flight<T> {
  const controller = new AbortController();
  const { signal } = controller;
  const outcome = Promise.race([Promise.resolve(signal).then(work), aborted(signal)]);
  // Work that nobody waits for any more must not become an unhandled rejection.
  outcome.catch(() => {});
  let waiting = 0;
  const cancel = (error: TokenError): void => controller.abort(error);
  const join = (own?: AbortSignal): Promise<T> =>
    new Promise((resolve, reject) => {
      waiting++;
      const leave = (): void => {
        const error = new TokenError('aborted');
        reject(error);
        if (--waiting) return;
        cancel(error);
        deserted();
      };
      own?.addEventListener('abort', leave);
      outcome.finally(() => own?.removeEventListener('abort', leave)).then(resolve, reject);
    });
  return { join, cancel };
}
