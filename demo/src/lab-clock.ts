// A clock for the client that this page can set and put to sleep.
import type { Clock } from './sdk.js';

/** The platform's clocks, with simulated changes and sleep. */
export class LabClock implements Clock {
  #ahead = 0;
  #slept = 0;
  #asleepSince: number | null = null;
  readonly #late = new Map<unknown, () => void>();

  wall(): number {
    return Date.now() + this.#ahead;
  }

  monotonic(): number {
    return (this.#asleepSince ?? performance.now()) - this.#slept;
  }

  setTimeout(run: () => void, ms: number): unknown {
    const timer = setTimeout(() => {
      if (this.#asleepSince === null) run();
      else this.#late.set(timer, run);
    }, ms);
    return timer;
  }

  clearTimeout(timer: unknown): void {
    clearTimeout(timer as number);
    this.#late.delete(timer);
  }

  /** Sets the wall clock by `ms`, forward or back. */
  set(ms: number): void {
    this.#ahead += ms;
  }

  /** Starts the sleep: no timer runs, and the monotonic clock stands still. */
  sleep(): void {
    this.#asleepSince = performance.now();
  }

  /** Ends the sleep `ms` later by the wall clock, whatever time really passed. */
  wake(ms: number): void {
    const passed = performance.now() - (this.#asleepSince ?? performance.now());
    this.#slept += passed;
    this.#ahead += ms - passed;
    this.#asleepSince = null;
    const late = [...this.#late.values()];
    this.#late.clear();
    for (const run of late) run();
  }
}
