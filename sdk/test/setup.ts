// The set-up of unit tests: a manager with a fake clock, broker and page, and a record of its events.
import type { TestContext } from 'node:test';
import { createTokenManager, type TokenEvents, type TokenManager, type TokenManagerOptions } from '@realtime-token-broker/client';
import {
  createFakeBroker,
  createFakeClock,
  createFakePage,
  type FakeBroker,
  type FakeClock,
  type FakePage,
} from '@realtime-token-broker/client/testing';

export type Told = { [K in keyof TokenEvents]: { type: K; at: number } & TokenEvents[K] }[keyof TokenEvents];

export interface Bench {
  clock: FakeClock;
  broker: FakeBroker;
  page: FakePage;
  tokens: TokenManager;
  warnings: string[];
  /** All events but stateChange, with the elapsed time. */
  told: Told[];
  /** The elapsed times of requests. */
  asked: number[];
  of<K extends keyof TokenEvents>(type: K): ({ at: number } & TokenEvents[K])[];
}

export const SECOND = 1000;
export const MINUTE = 60 * SECOND;
export const HOUR = 60 * MINUTE;

/** Creates the set-up. The broker's clock agrees with the device's at the start, and nobody sets it. `end` wraps the final destroy(). */
export function bench(
  t: TestContext,
  lifetimeSeconds = 600,
  options: TokenManagerOptions = {},
  end: (destroy: () => void) => unknown = (destroy) => destroy(),
): Bench {
  const clock = createFakeClock();
  const start = clock.wall();
  const broker = createFakeBroker({ lifetimeSeconds, now: () => start + clock.monotonic() });
  const page = createFakePage();
  const warnings: string[] = [];
  const asked: number[] = [];
  const counted: typeof fetch = (input, init) => {
    asked.push(clock.monotonic());
    return broker.fetch(input, init);
  };
  const tokens = createTokenManager({
    baseUrl: 'https://broker.test',
    fetch: counted,
    clock,
    eventTarget: page,
    random: () => 0.5,
    logger: { warn: (message) => warnings.push(message) },
    ...options,
  });
  const told: Told[] = [];
  for (const type of ['tokenRefreshed', 'tokenExpired', 'tokenError'] as const) {
    tokens.on(type, (event) => told.push({ type, at: clock.monotonic(), ...event } as Told));
  }
  t.after(() => end(() => tokens.destroy()));
  const of: Bench['of'] = (type) => told.filter((event) => event.type === type) as never;
  return { clock, broker, page, tokens, warnings, told, asked, of };
}

/** Returns the result of a promise, or its error. */
export async function outcome<T>(promise: Promise<T>): Promise<T | { code: string }> {
  return promise.catch((error: { code: string }) => error);
}
