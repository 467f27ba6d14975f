// A broker that holds one call, in memory: it tells where the call stands, by streams that the test writes.
import type { CallView } from '../src/call/snapshot.js';
import { settle } from '@realtime-token-broker/client/testing';

export const CALLS = 'https://broker.test/calls';
export const CALL = `${CALLS}/rtc_1`;

export type Told = Partial<CallView>;

export interface Asked {
  /** Below the call; `offer` for one that opens it. */
  path: string;
  method: string;
  bearer: string;
  lastEventId: string | null;
  keepalive: boolean;
}

/** One open stream of events. */
export interface Stream {
  /** Writes text as it is. */
  write(text: string): void;
  /** Writes an event. */
  tell(event: string, told?: Told): void;
  end(): void;
  /** Breaks the connection. */
  break(): void;
  readonly cancelled: boolean;
}

export class CallBroker {
  readonly asked: Asked[] = [];
  readonly streams: Stream[] = [];
  /** A new call. */
  fresh: CallView = { state: 'open', revision: 1, seconds_left: 600, warning: false, turns: 0, tokens: 0, cost: '0.000000', estimated_cost: '0.000000' };
  /** Where the call stands. */
  view: CallView = this.fresh;
  /** The answer to an offer, and more of its headers. */
  answer = 'v=0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\nm=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n';
  headers: Record<string, string> = {};
  /** Answers in place of the next ones, by path. An error breaks the connection. */
  readonly faults: Record<string, (Response | Error | Promise<Response>)[]> = {};
  /** What a hang-up makes of the call. */
  hungUp: Told = { state: 'ended', reason: 'hung_up' };

  /** Changes the call, and tells all who listen. */
  change(told: Told, event = 'state'): void {
    this.view = { ...this.view, ...told, revision: this.view.revision + 1 };
    for (const stream of this.streams) stream.tell(event);
  }

  /** The paths of the requests so far, without the call's own. */
  get paths(): string[] {
    return this.asked.map(({ method, path }) => `${method} ${path}`);
  }

  readonly fetch: typeof fetch = async (input, init = {}) => {
    const headers = new Headers(init.headers);
    const path = `${input}` === CALLS ? 'offer' : `${input}`.slice(CALL.length);
    const { method = 'GET', keepalive = false } = init;
    this.asked.push({ path, method, keepalive, bearer: `${headers.get('authorization')}`, lastEventId: headers.get('last-event-id') });
    const fault = await this.faults[path]?.shift();
    if (fault instanceof Error) throw fault;
    if (fault) return fault;
    if (path === 'offer') return this.#open();
    if (path === '/events') return this.#stream(init.signal);
    if (path === '/hangup') this.view = { ...this.view, ...this.hungUp, revision: this.view.revision + 1 };
    return Response.json(this.view);
  };

  #open(): Response {
    const { seconds_left } = (this.view = { ...this.fresh });
    const now = 1_900_000_000_000;
    const headers = { location: '/calls/rtc_1', date: new Date(now).toUTCString(), 'x-call-ends-at': `${now + seconds_left * 1000}`, ...this.headers };
    return new Response(this.answer, { status: 201, headers: { 'content-type': 'application/sdp', ...headers } });
  }

  #stream(signal: AbortSignal | null | undefined): Response {
    const encoder = new TextEncoder();
    let cancelled = false;
    let open = true;
    const body = new ReadableStream<Uint8Array>({
      start: (controller) => {
        const close = (end: () => void): void => {
          if (open) end();
          open = false;
        };
        const write = (text: string): void => {
          if (open) controller.enqueue(encoder.encode(text));
        };
        const tell = (event: string, told: Told = {}): void => {
          const view = { ...this.view, ...told };
          write(`event: ${event}\nid: ${view.revision}\ndata: ${JSON.stringify(view)}\n\n`);
        };
        signal?.addEventListener('abort', () => {
          cancelled = true;
          close(() => controller.error(new Error('aborted')));
        });
        const stream: Stream = {
          write,
          tell,
          end: () => close(() => controller.close()),
          break: () => close(() => controller.error(new TypeError('network error'))),
          get cancelled() {
            return cancelled;
          },
        };
        this.streams.push(stream);
        tell('state');
      },
    });
    return new Response(body, { headers: { 'content-type': 'text/event-stream' } });
  }
}

/** Lets promises settle that wait for streams, which no fake clock turns. */
export async function turns(): Promise<void> {
  for (let turn = 0; turn < 5; turn++) {
    await new Promise((resolve) => setImmediate(resolve));
    await settle();
  }
}
