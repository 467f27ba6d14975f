// Owns time as the client sees it: two clocks, timers, and how long ago something happened.

/** The clocks and timers that a token manager uses. Replace it in tests (see `./testing`). */
export interface Clock {
  /** The wall clock, in epoch milliseconds. People and NTP set it, and it goes on while the machine sleeps. */
  wall(): number;
  /** A clock that nobody sets, in milliseconds. It stands still during sleep on most systems. */
  monotonic(): number;
  setTimeout(run: () => void, ms: number): unknown;
  clearTimeout(timer: unknown): void;
}

/** The platform's clocks and timers. */
export const systemClock: Clock = {
  wall: () => Date.now(),
  monotonic: () => performance.now(),
  setTimeout: (run, ms) => setTimeout(run, ms),
  clearTimeout: (timer) => clearTimeout(timer as number),
};

/**
 * Starts measuring; the answer tells the milliseconds since. The larger of both clocks counts: the wall clock sees sleep,
 * the monotonic one sees through a wall clock that was set back. One that was set forward costs an early mint at worst.
 */
export function stopwatch(clock: Clock): () => number {
  const wall = clock.wall();
  const monotonic = clock.monotonic();
  return () => Math.max(clock.wall() - wall, clock.monotonic() - monotonic, 0);
}

/** Resolves after `ms`, at once when `signal` aborts, and when `target` (if any) hears `online`. */
export function pause(clock: Clock, ms: number, signal: AbortSignal, target?: EventTarget): Promise<void> {
  return new Promise<void>((resolve) => {
    const end = (): void => {
      clock.clearTimeout(timer);
      target?.removeEventListener('online', end);
      resolve();
    };
    const timer = clock.setTimeout(end, ms);
    signal.addEventListener('abort', end);
    target?.addEventListener('online', end);
    if (signal.aborted) end();
  });
}

/** Rejects with the reason when `signal` aborts. */
export function aborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason as Error)));
}
