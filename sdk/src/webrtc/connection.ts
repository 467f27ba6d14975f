// A voice connection for a page: calls, events in both directions, a warning before the session ends, what the broker tells.
import type { CallEvents } from '../call/snapshot.js';
import { type ConnectContext, Connection, type ConnectionEvents, type ConnectionOptions } from '../connection.js';
import { defined } from '../options.js';
import { type CallOptions, openCall, type RealtimeCall, type RealtimeEvent } from './call.js';

/** Events of GPT-Live that mean the same as events of the Realtime API. */
const SAME: Record<string, string> = {
  'session.started': 'session.created',
  'session.input_transcript.delta': 'conversation.item.input_audio_transcription.delta',
  'session.output_transcript.delta': 'response.output_audio_transcript.delta',
};

export interface RealtimeConnectionOptions extends Omit<ConnectionOptions<RealtimeCall>, 'connect'>, CallOptions {
  /** When to warn before the end of the session, in milliseconds. 60 000. */
  warnBeforeMs?: number;
}

export interface RealtimeConnectionEvents extends ConnectionEvents, CallEvents {
  /** Every event of the other side. Events of GPT-Live have the names of the Realtime API where they mean the same. */
  event: RealtimeEvent;
  /** Every event of the other side, as it was sent. */
  raw: RealtimeEvent;
  /** OpenAI ends the session soon; `expiresAt` in epoch milliseconds by its clock. The end of a key ends no session. */
  sessionWillExpire: { expiresAt: number };
}

/** A conversation by voice. Create it with {@link createRealtimeConnection}. */
export class RealtimeConnection extends Connection<RealtimeCall, RealtimeConnectionEvents> {
  #warning: unknown;

  constructor(options: RealtimeConnectionOptions) {
    const hear = (event: RealtimeEvent): void => this.#hear(event, options.warnBeforeMs ?? 60_000);
    super({ reconnect: 3, ...defined(options), connect: (context) => this.#open(context, options, hear) });
    this.on('status', () => this.options.tokens.clock.clearTimeout(this.#warning));
  }

  /** Sends an event. Returns false without a connection, and when the call carries no events. */
  send(event: RealtimeEvent): boolean {
    return this.getSnapshot().session?.send(event) ?? false;
  }

  /** Mutes the microphone, or opens it again. The connection stays. */
  mute(muted: boolean): void {
    const { peer, microphone } = this.getSnapshot().session ?? {};
    // A page may have replaced the track of a call.
    const tracks = peer?.getSenders().map(({ track }) => track) ?? microphone?.getAudioTracks() ?? [];
    for (const track of tracks) if (track) track.enabled = !muted;
  }

  async #open(context: ConnectContext, options: CallOptions, hear: (event: RealtimeEvent) => void): Promise<RealtimeCall> {
    const session = await openCall(context, options, hear);
    const { call } = session;
    for (const type of ['secondsLeft', 'cost', 'estimatedCost', 'warning', 'ended'] as const) {
      // The hang-up of a call that was replaced is no news.
      call?.on(type, (event) => this.getSnapshot().call === call && this.listeners.emit(type, event));
    }
    return session;
  }

  #hear(raw: RealtimeEvent, before: number): void {
    const event: RealtimeEvent = { ...raw, type: SAME[raw.type] ?? raw.type };
    const end = Number(Object(event['session']).expires_at) * 1000;
    if (event.type === 'session.created' && end) {
      const { clock, getSnapshot } = this.options.tokens;
      clock.clearTimeout(this.#warning);
      // `end` is by OpenAI's clock. The key came with the difference to this device's clock.
      const skew = getSnapshot().token?.skewMs ?? 0;
      const wait = Math.min(end - skew - clock.wall() - before, 2 ** 31 - 1);
      this.#warning = clock.setTimeout(() => this.listeners.emit('sessionWillExpire', { expiresAt: end }), wait);
    }
    this.listeners.emit('raw', raw);
    this.listeners.emit('event', event);
  }
}

/** Creates a connection. It is not connected yet. */
export function createRealtimeConnection(options: RealtimeConnectionOptions): RealtimeConnection {
  return new RealtimeConnection(options);
}
