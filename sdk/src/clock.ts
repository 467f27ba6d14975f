// Time: two clocks, timers that wait, stopwatches.

/** The clocks and timers that managers and connections use. Replace it in tests (see `./testing`). */
export interface Clock {
  /** Returns the wall clock in epoch milliseconds. Users and NTP set it. It goes on while the machine sleeps. */
  wall(): number;
  /** Returns a clock that nobody sets, in milliseconds. It stands still during sleep on most systems. */
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
 * Starts measuring. The returned function gives the milliseconds since. The larger of both clocks counts: the wall clock
 * includes sleep, and the monotonic clock is right when the wall clock was set back. A wall clock set forward costs at
 * worst an early mint.
 */
export function stopwatch(clock: Clock): () => number {
  const wall = clock.wall();
  const monotonic = clock.monotonic();
  return () => Math.max(clock.wall() - wall, clock.monotonic() - monotonic, 0);
}

/** Waits for `ms`, or until `signal` aborts or `target` hears `online`. */
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

/** Throws when `signal` has aborted. The signals of React Native know no `throwIfAborted` and no `reason`. */
export function checkAborted(signal: AbortSignal): void {
  if (signal.aborted) throw new Error('aborted');
}
