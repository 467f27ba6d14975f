// Sends the client's requests to the broker, reads what the answers say, and injects faults in place of answers.
import { Signal } from './signal.js';

/** A refusal in place of an answer. */
export interface Fault {
  status: number;
  code: string;
  retryAfterSeconds?: number;
}

/** What one answer says. */
export interface Reading {
  /** `/token` */
  path: string;
  status: number;
  tookMs: number;
  /** True when this page simulated the answer. */
  made: boolean;
  /** From `Server-Timing`, in milliseconds. */
  upstreamMs?: number;
  totalMs?: number;
  window?: { limit: number; left: number; resetSeconds: number };
  /** Of a refusal, like the fields below. */
  code?: string;
  message?: string;
  limit?: string;
  retryAfterSeconds?: number;
}

const number = (text: string | null | undefined): number | undefined => (text ? Number(text) : undefined);

function made({ status, code, retryAfterSeconds }: Fault): Response {
  const headers = new Headers({ 'content-type': 'application/json' });
  if (retryAfterSeconds) headers.set('retry-after', `${retryAfterSeconds}`);
  const error = { code, message: `Simulated by this page: ${status}.` };
  return new Response(JSON.stringify({ success: false, error }), { status, headers });
}

/** The connection to the broker. */
export class Wire {
  readonly heard = new Signal<Reading>();
  /** Replace the next answers, in order. */
  readonly faults: Fault[] = [];
  /** The lifetime that answers are changed to, in seconds, or null. */
  lifetime: number | null = null;
  offline = false;
  /** The broker's minimum interval between two refreshes of one session. */
  refreshEveryMs = 0;
  #mintedAt = -Infinity;

  /** Milliseconds until the broker accepts a refresh. */
  untilRefresh(): number {
    return Math.max(this.#mintedAt + this.refreshEveryMs - performance.now(), 0);
  }

  readonly fetch: typeof fetch = async (input, init) => {
    if (this.offline) throw new TypeError('Offline: nothing was sent.');
    const url = new URL(input instanceof Request ? input.url : input, location.href);
    const started = performance.now();
    const fault = this.faults.shift();
    const response = fault ? made(fault) : await fetch(input, init);
    if (response.ok) this.#mintedAt = performance.now();
    const reading = await read(response, `/${url.pathname.split('/').pop()}`);
    this.heard.tell({ ...reading, tookMs: performance.now() - started, made: fault !== undefined });
    return response.ok && this.lifetime ? this.#shorten(response, this.lifetime) : response;
  };

  /** Shortens the lifetime in an answer. Asks for the refresh late enough for the broker's minimum interval. */
  async #shorten(response: Response, seconds: number): Promise<Response> {
    const told = (await response.json()) as object;
    const body = { ...told, expiresIn: seconds, expires_in: seconds, refresh_in: seconds * 0.6 };
    return new Response(JSON.stringify(body), { status: response.status, headers: response.headers });
  }
}

async function read(response: Response, path: string): Promise<Omit<Reading, 'tookMs' | 'made'>> {
  const { status, headers, ok } = response;
  const timing = headers.get('server-timing') ?? '';
  const took = (name: string): number | undefined => number(new RegExp(`${name};dur=([\\d.]+)`).exec(timing)?.[1]);
  const [limit, left, resetSeconds] = ['limit', 'remaining', 'reset'].map((name) => number(headers.get(`x-ratelimit-${name}`)));
  const reading: Record<string, unknown> = { path, status, upstreamMs: took('upstream'), totalMs: took('total') };
  if (limit !== undefined) reading['window'] = { limit, left, resetSeconds };
  if (!ok) {
    const { error } = (await response.clone().json().catch(() => ({}))) as { error?: Record<string, unknown> };
    const retryAfterSeconds = number(headers.get('retry-after'));
    Object.assign(reading, { code: error?.['code'], message: error?.['message'], limit: error?.['limit'], retryAfterSeconds });
  }
  return reading as unknown as Omit<Reading, 'tookMs' | 'made'>;
}
