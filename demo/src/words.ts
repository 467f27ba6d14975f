// Owns how times are written.

/** `4.2 ms`, `84 ms`, `1.3 s`, `10 min`. */
export function span(ms: number): string {
  if (ms < 9.95) return `${ms.toFixed(1)} ms`;
  if (ms < 999.5) return `${Math.round(ms)} ms`;
  if (ms < 99_500) return `${(ms / 1000).toFixed(1)} s`;
  return `${Math.round(ms / 60_000)} min`;
}

/** `0:43`: whole seconds that are left, so that zero is shown only at the end. */
export function countdown(ms: number): string {
  const seconds = Math.ceil(ms / 1000);
  return `${Math.floor(seconds / 60)}:${`${seconds % 60}`.padStart(2, '0')}`;
}

/** `12:04:09.3`, on this device's clock. */
export function timeOfDay(at: Date): string {
  return `${at.toTimeString().slice(0, 8)}.${Math.floor(at.getMilliseconds() / 100)}`;
}

/** The last characters of a masked secret: enough to tell two apart. */
export function tail(masked: string): string {
  return `…${masked.slice(-4)}`;
}
