// Owns one request that many callers share: who still waits for it, and that it ends when nobody does.
import { aborted } from './clock.js';
import { TokenError } from './errors.js';

/** Work in progress. */
export class Flight<T> {
  readonly #controller = new AbortController();
  readonly #work: Promise<T>;
  readonly #deserted: () => void;
  #waiting = 0;

  /** Starts `work` in a moment of its own. `deserted` is called when the last caller has left. */
  constructor(work: (signal: AbortSignal) => Promise<T>, deserted: () => void) {
    const { signal } = this.#controller;
    this.#deserted = deserted;
    this.#work = Promise.race([Promise.resolve(signal).then(work), aborted(signal)]);
    // Work that nobody waits for any more must not become an unhandled rejection.
    this.#work.catch(() => {});
  }

  /** Waits for the outcome until `signal` aborts. Without a signal it is wanted for good. */
  join(signal?: AbortSignal): Promise<T> {
    this.#waiting++;
    return new Promise((resolve, reject) => {
      const leave = (): void => {
        reject(new TokenError('aborted'));
        if (--this.#waiting) return;
        this.cancel(new TokenError('aborted'));
        this.#deserted();
      };
      const done = (): void => signal?.removeEventListener('abort', leave);
      signal?.addEventListener('abort', leave);
      this.#work.finally(done).then(resolve, reject);
    });
  }

  /** Ends it for everybody. */
  cancel(error: TokenError): void {
    this.#controller.abort(error);
  }
}
