// Owns a broker that lives in memory: a fetch that answers as the real one does, and remembers what it was asked.

/** A request that the fake was asked. */
export interface FakeRequest {
  url: string;
  path: string;
  headers: Headers;
  body: unknown;
  signal: AbortSignal | null;
}

/** One answer: a response, an error to reject with, or a promise that never settles for a broker that hangs. */
export type FakeAnswer = Response | Error | Promise<Response> | ((request: FakeRequest) => Response | Promise<Response>);

/** How the fake behaves. */
export interface FakeBrokerOptions {
  /** Life of its tokens in seconds. 60. */
  lifetimeSeconds?: number;
  /** Its clock, in epoch milliseconds. */
  now?: () => number;
}

/** A broker in memory. Create it with {@link createFakeBroker}. */
export class FakeBroker {
  /** What it was asked, oldest first. */
  readonly requests: FakeRequest[] = [];
  /** Life of the next tokens in seconds. */
  lifetimeSeconds: number;
  readonly #now: () => number;
  readonly #script: FakeAnswer[] = [];
  #minted = 0;

  constructor(options: FakeBrokerOptions = {}) {
    this.lifetimeSeconds = options.lifetimeSeconds ?? 60;
    this.#now = options.now ?? Date.now;
  }

  /** Answers the next requests with these, in order, instead of with tokens. */
  next(...answers: FakeAnswer[]): this {
    this.#script.push(...answers);
    return this;
  }

  /** Paths asked so far. */
  get paths(): string[] {
    return this.requests.map((request) => request.path);
  }

  /** Pass it as the `fetch` option. Bound. */
  readonly fetch: typeof fetch = async (input, init = {}) => {
    const url = `${input instanceof Request ? input.url : input}`;
    const request: FakeRequest = {
      url,
      path: new URL(url, 'http://broker.test').pathname,
      headers: new Headers(init.headers),
      body: init.body ? JSON.parse(`${init.body}`) : undefined,
      signal: init.signal ?? null,
    };
    this.requests.push(request);
    const answer = this.#script.shift() ?? this.token();
    const given = typeof answer === 'function' ? answer(request) : answer;
    if (given instanceof Error) throw given;
    return given;
  };

  /** The answer with a new token; `fields` replace what it says. */
  token(fields: Record<string, unknown> = {}): Response {
    const n = ++this.#minted;
    const end = Math.floor(this.#now() / 1000) + this.lifetimeSeconds;
    return json({
      success: true,
      token: `ek_fake_secret_${n}`,
      expiresAt: end * 1000,
      expiresIn: this.lifetimeSeconds,
      sessionId: `rts_fake_session_${n}`,
      value: `ek_fake_secret_${n}`,
      expires_at: end,
      session: { id: `sess_${n}`, type: 'realtime', model: 'gpt-realtime', voice: 'marin' },
      ...fields,
    });
  }

  /** A refusal in the broker's layout. `retryAfter` in seconds or as an HTTP date. */
  refuse(status: number, code: string, retryAfter?: number | string, more: Record<string, unknown> = {}): Response {
    const headers: Record<string, string> = { 'x-request-id': 'req_fake' };
    if (retryAfter !== undefined) headers['retry-after'] = `${retryAfter}`;
    return json({ success: false, error: { type: 'fake', code, message: code, request_id: 'req_fake', ...more } }, status, headers);
  }

  /** An answer that never comes. */
  hang(): Promise<Response> {
    return new Promise(() => {});
  }
}

/** A broker in memory. */
export function createFakeBroker(options: FakeBrokerOptions = {}): FakeBroker {
  return new FakeBroker(options);
}

function json(body: unknown, status = 200, headers: Record<string, string> = {}): Response {
  return new Response(JSON.stringify(body), { status, headers: { 'content-type': 'application/json', ...headers } });
}
