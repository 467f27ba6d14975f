// A broker in memory: a `fetch` that answers like the real broker and records its requests.

/** A recorded request. */
export interface FakeRequest {
  url: string;
  path: string;
  headers: Headers;
  body: unknown;
  signal: AbortSignal | null;
}

/** One answer: a response, an error to reject with, or a promise that never settles for a hanging broker. */
export type FakeAnswer = Response | Error | Promise<Response> | ((request: FakeRequest) => Response | Promise<Response>);

/** The options of the fake broker. */
export interface FakeBrokerOptions {
  /** Lifetime of its tokens in seconds. 60. */
  lifetimeSeconds?: number;
  /** Its clock, in epoch milliseconds. */
  now?: () => number;
}

/** A broker in memory. Create it with {@link createFakeBroker}. */
export class FakeBroker {
  /** The requests so far, oldest first. */
  readonly requests: FakeRequest[] = [];
  /** Lifetime of the next tokens in seconds. */
  lifetimeSeconds: number;
  readonly #now: () => number;
  readonly #script: FakeAnswer[] = [];
  #minted = 0;

  constructor(options: FakeBrokerOptions = {}) {
    this.lifetimeSeconds = options.lifetimeSeconds ?? 60;
    this.#now = options.now ?? Date.now;
  }

  /** Answers the next requests with `answers`, in order, in place of tokens. */
  next(...answers: FakeAnswer[]): this {
    this.#script.push(...answers);
    return this;
  }

  /** The paths of the requests so far. */
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

  /** Returns an answer with a new token. `fields` replace its fields. */
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
      connect: { mode: 'direct', calls: 'https://api.openai.com/v1/realtime/calls', realtime: 'wss://api.openai.com/v1/realtime' },
      ...fields,
    });
  }

  /** Returns a refusal in the broker's format. `retryAfter` is in seconds or an HTTP date. */
  refuse(status: number, code: string, retryAfter?: number | string, more: Record<string, unknown> = {}): Response {
    const headers: Record<string, string> = { 'x-request-id': 'req_fake' };
    if (retryAfter !== undefined) headers['retry-after'] = `${retryAfter}`;
    return json({ success: false, error: { type: 'fake', code, message: code, request_id: 'req_fake', ...more } }, status, headers);
  }

  /** Returns an answer that never comes. */
  hang(): Promise<Response> {
    return new Promise(() => {});
  }
}

/** Creates a broker in memory. */
export function createFakeBroker(options: FakeBrokerOptions = {}): FakeBroker {
  return new FakeBroker(options);
}

function json(body: unknown, status = 200, headers: Record<string, string> = {}): Response {
  return new Response(JSON.stringify(body), { status, headers: { 'content-type': 'application/json', ...headers } });
}
