// Writes into the event log what the client and the broker did about keys.
import type { Desk, DeskEvent } from './desk.js';
import type { EventLog } from './log.js';
import { CAUSES, REASONS, span, tail } from './words.js';
import type { Reading, Wire } from './wire.js';

/** Starts writing. */
export function keepDiary(desk: Desk, wire: Wire, log: EventLog): void {
  wire.heard.on((reading) => log.add({ from: 'broker', ...answered(reading), held: reading }));
  desk.told.on((event) => log.add({ from: 'secret', ...told(event, desk.wall()) }));
}

type Words = { text: string; tone?: 'good' | 'warn' | 'bad'; held?: unknown };

function answered({ path, status, tookMs, code, limit, made }: Reading): Words {
  const text = `${[status, path, code, limit].filter(Boolean).join(' ')}, ${made ? 'simulated' : span(tookMs)}`;
  return status < 400 ? { text } : { text, tone: 'warn' };
}

function told(event: DeskEvent, now: number): Words {
  if (event.type === 'tokenRefreshed') {
    const { token, reason, latencyMs } = event;
    return { text: `${tail(token.masked)} for ${span(token.lifetimeMs)}, ${REASONS[reason]}`, tone: 'good', held: { reason, latencyMs, token } };
  }
  if (event.type === 'tokenExpired') return { text: `expired: ${CAUSES[event.cause]}`, tone: 'bad', held: event };
  const { error, attempt, willRetry, nextAttemptAt } = event;
  const { code, message, hint, status, brokerCode, retryAfterMs, requestId } = error;
  const next = willRetry ? `attempt ${attempt + 1} in ${span(Math.max((nextAttemptAt ?? now) - now, 0))}` : 'gives up';
  const tone = willRetry ? 'warn' : 'bad';
  return { text: `${code}, attempt ${attempt}; ${next}`, tone, held: { code, message, hint, status, brokerCode, retryAfterMs, requestId } };
}
