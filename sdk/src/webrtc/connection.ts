// Owns a voice connection as a page uses it: calls, events in both directions, and a warning before the session ends.
import { Connection, type ConnectionEvents, type ConnectionOptions } from '../connection.js';
import { defined } from '../options.js';
import { type CallOptions, openCall, type RealtimeCall, type RealtimeEvent } from './call.js';

export interface RealtimeConnectionOptions extends Omit<ConnectionOptions<RealtimeCall>, 'connect'>, CallOptions {
  /** How long before the end of the session to warn, in milliseconds. 60 000. */
  warnBeforeMs?: number;
}

export interface RealtimeConnectionEvents extends ConnectionEvents {
  /** Whatever the other side sent. */
  event: RealtimeEvent;
  /** The upstream ends the session soon; `expiresAt` in epoch milliseconds by its clock. A key's end never does. */
  sessionWillExpire: { expiresAt: number };
}

/** A conversation by voice. Create it with {@link createRealtimeConnection}. */
export class RealtimeConnection extends Connection<RealtimeCall, RealtimeConnectionEvents> {
  #warning: ReturnType<typeof setTimeout> | undefined;

  constructor(options: RealtimeConnectionOptions) {
    const hear = (event: RealtimeEvent): void => this.#hear(event, options.warnBeforeMs ?? 60_000);
    super({ reconnect: 3, ...defined(options), connect: (context) => openCall(context, options, hear) });
    this.on('status', () => clearTimeout(this.#warning));
  }

  /** Sends an event. False when there is nobody to send it to. */
  send(event: RealtimeEvent): boolean {
    const { session } = this.getSnapshot();
    session?.send(event);
    return session !== null;
  }

  /** Mutes the microphone, or opens it again; the connection stays. */
  mute(muted: boolean): void {
    for (const { track } of this.getSnapshot().session?.peer.getSenders() ?? []) if (track) track.enabled = !muted;
  }

  #hear(event: RealtimeEvent, before: number): void {
    const end = Number(Object(event['session']).expires_at) * 1000;
    if (event.type === 'session.created' && end) {
      clearTimeout(this.#warning);
      // The end is told by the upstream's clock; how far that is ahead of this device's came with the key.
      const skew = this.options.tokens.getSnapshot().token?.skewMs ?? 0;
      const wait = Math.min(end - skew - Date.now() - before, 2 ** 31 - 1);
      this.#warning = setTimeout(() => this.listeners.emit('sessionWillExpire', { expiresAt: end }), wait);
    }
    this.listeners.emit('event', event);
  }
}

/** A connection that is not connected yet. */
export function createRealtimeConnection(options: RealtimeConnectionOptions): RealtimeConnection {
  return new RealtimeConnection(options);
}
