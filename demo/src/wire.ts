// Owns the requests to the broker: what their answers tell, and the faults that are put in their place.
import { Signal } from './signal.js';

/** A refusal that an answer is replaced with. */
export interface Fault {
  status: number;
  code: string;
  retryAfterSeconds?: number;
}

/** What one request told. */
export interface Reading {
  /** `/token` */
  path: string;
  status: number;
  tookMs: number;
  /** True when this page made the answer up. */
  made: boolean;
  /** From `Server-Timing`, in milliseconds. */
  upstreamMs?: number;
  totalMs?: number;
  window?: { limit: number; left: number; resetSeconds: number };
  /** Of a refusal. */
  code?: string;
  message?: string;
  limit?: string;
  retryAfterSeconds?: number;
}

const number = (text: string | null | undefined): number | undefined => (text ? Number(text) : undefined);

function made({ status, code, retryAfterSeconds }: Fault): Response {
  const headers = new Headers({ 'content-type': 'application/json' });
  if (retryAfterSeconds) headers.set('retry-after', `${retryAfterSeconds}`);
  const error = { code, message: `Made up by this page: ${status}.` };
  return new Response(JSON.stringify({ success: false, error }), { status, headers });
}

/** The way to the broker. */
export class Wire {
  readonly heard = new Signal<Reading>();
  /** Take the place of the next answers, in order. */
  readonly faults: Fault[] = [];
  /** Seconds that answers are made to say, or null. */
  lifetime: number | null = null;
  offline = false;

  readonly fetch: typeof fetch = async (input, init) => {
    if (this.offline) throw new TypeError('Offline: nothing was sent.');
    const url = new URL(input instanceof Request ? input.url : input, location.href);
    const started = performance.now();
    const fault = this.faults.shift();
    const response = fault ? made(fault) : await fetch(input, init);
    const reading = await read(response, `/${url.pathname.split('/').pop()}`);
    this.heard.tell({ ...reading, tookMs: performance.now() - started, made: fault !== undefined });
    return response.ok && this.lifetime ? this.#shorten(response, this.lifetime) : response;
  };

  /** The same answer with a shorter life; the refresh is asked for late enough for the broker's least interval. */
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
