// A clock that is turned by hand: time, sleep, changes by a user, throttled timers.
import type { Clock } from '../clock.js';

interface Timer {
  run: () => void;
  at: number;
}

/** A clock that stands still until it is turned. Create it with {@link createFakeClock}. */
export class FakeClock implements Clock {
  #wall: number;
  #monotonic = 0;
  readonly #timers = new Map<number, Timer>();
  #next = 1;
  /** Timers run only at multiples of this, in milliseconds, as in a hidden page. 0 for at once. */
  throttleMs = 0;

  constructor(wall: number) {
    this.#wall = wall;
  }

  wall(): number {
    return this.#wall;
  }

  monotonic(): number {
    return this.#monotonic;
  }

  setTimeout(run: () => void, ms: number): number {
    // Like browsers: a wait that does not fit 31 bits ends at once.
    const wait = ms > 2 ** 31 - 1 ? 0 : Math.max(ms, 0);
    const due = this.#monotonic + wait;
    const step = this.throttleMs;
    this.#timers.set(this.#next, { run, at: step ? Math.ceil(due / step) * step : due });
    return this.#next++;
  }

  clearTimeout(timer: unknown): void {
    this.#timers.delete(timer as number);
  }

  /** The number of pending timers. */
  get timers(): number {
    return this.#timers.size;
  }

  /** Lets `ms` milliseconds pass, runs the timers due in order, and lets promises settle. */
  async advance(ms: number): Promise<void> {
    const end = this.#monotonic + ms;
    await settle();
    for (;;) {
      const [id, timer] = [...this.#timers].sort(([, a], [, b]) => a.at - b.at)[0] ?? [];
      if (!id || !timer || timer.at > end) break;
      this.#move(Math.max(timer.at - this.#monotonic, 0));
      this.#timers.delete(id);
      timer.run();
      await settle();
    }
    this.#move(end - this.#monotonic);
  }

  /** Simulates sleep: only the wall clock goes on, and no timer runs. */
  sleep(ms: number): void {
    this.#wall += ms;
  }

  /** Sets the wall clock by `ms`, forward or back. */
  setWall(ms: number): void {
    this.#wall += ms;
  }

  #move(ms: number): void {
    this.#wall += ms;
    this.#monotonic += ms;
  }
}

/** Creates a fake clock that shows `wall`, in epoch milliseconds. */
export function createFakeClock(wall = 1_640_995_200_000): FakeClock {
  return new FakeClock(wall);
}

/** Lets promises settle that wait for nothing outside. */
export async function settle(): Promise<void> {
  for (let turn = 0; turn < 60; turn++) await null;
}
