// Owns one request that many callers share: who still waits for it, and that it ends when nobody does.
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
    this.#work = new Promise((resolve, reject) => {
      signal.addEventListener('abort', () => reject(signal.reason as TokenError));
      void Promise.resolve()
        .then(() => work(signal))
        .then(resolve, reject);
    });
    // Work that nobody waits for any more must not become an unhandled rejection.
    this.#work.catch(() => {});
  }

  /** Waits for the outcome until `signal` aborts. Without a signal it is wanted for good. */
  join(signal?: AbortSignal): Promise<T> {
    this.#waiting++;
    if (!signal) return this.#work;
    return new Promise((resolve, reject) => {
      const leave = (): void => {
        reject(new TokenError('aborted', undefined, { cause: signal.reason }));
        if (--this.#waiting === 0) {
          this.cancel(new TokenError('aborted'));
          this.#deserted();
        }
      };
      signal.addEventListener('abort', leave, { once: true });
      const done = (): void => signal.removeEventListener('abort', leave);
      this.#work.finally(done).then(resolve, reject);
    });
  }

  /** Ends it for everybody. */
  cancel(error: TokenError): void {
    this.#controller.abort(error);
  }
}
