// One request that many callers share. It ends when the last of them stops waiting.

/** The shared request. */
export interface Flight<T> {
  /** Waits for the outcome. Rejects when `signal` aborts. A caller without a signal waits to the end. */
  join(signal?: AbortSignal): Promise<T>;
  /** Ends the request for all callers. */
  cancel(): void;
}

/** Starts `work` in a microtask. Calls `deserted` when the last caller has stopped waiting. */
export function createFlight<T>(work: (signal: AbortSignal) => Promise<T>, deserted: () => void): Flight<T> {
  const controller = new AbortController();
  const { signal } = controller;
  const outcome = new Promise<T>((resolve, reject) => {
    signal.addEventListener('abort', reject);
    Promise.resolve(signal).then(work).then(resolve, reject);
  });
  // Without this, work that nobody waits for would be an unhandled rejection.
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
