// Owns one request that many callers share: who still waits for it, and that it ends when nobody does.
import { aborted } from './clock.js';

/** Work in progress. */
export interface Flight<T> {
  /** Waits for the outcome until `signal` aborts, and rejects then. Without a signal it is wanted for good. */
  join(signal?: AbortSignal): Promise<T>;
  /** Ends it for everybody. */
  cancel(): void;
}

/** Starts `work` in a moment of its own. `deserted` is called when the last caller has left. */
export function createFlight<T>(work: (signal: AbortSignal) => Promise<T>, deserted: () => void): Flight<T> {
  const controller = new AbortController();
  const { signal } = controller;
  const outcome = Promise.race([Promise.resolve(signal).then(work), aborted(signal)]);
  // Work that nobody waits for any more must not become an unhandled rejection.
  outcome.catch(() => {});
  let waiting = 0;
  const cancel = (): void => controller.abort();
  const join = (own?: AbortSignal): Promise<T> =>
    new Promise((resolve, reject) => {
      waiting++;
      const leave = (): void => {
        reject();
        if (--waiting) return;
        cancel();
        deserted();
      };
      own?.addEventListener('abort', leave);
      outcome.finally(() => own?.removeEventListener('abort', leave)).then(resolve, reject);
    });
  return { join, cancel };
}
