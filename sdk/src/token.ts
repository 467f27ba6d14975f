// The client secret in memory: readable on purpose, never by accident.

/** What the broker says about the session at OpenAI, without instructions and tools. */
export interface SessionSummary {
  id?: string;
  model?: string;
  voice?: string;
  type?: string;
}

/** How to connect with a key of the broker: where the offer of a call goes, and the URL of a WebSocket. */
export interface Connect {
  mode?: string;
  calls?: string;
  realtime?: string;
}

/** The parts of a token that may be shown. */
export interface TokenFacts {
  expiresAt: number;
  lifetimeMs: number;
  skewMs: number;
  session: SessionSummary | undefined;
  connect?: Connect | undefined;
}

/** A client secret. Its value is in a private field: not enumerable, not in JSON, not in `util.inspect`. */
export class RealtimeToken {
  readonly #value: string;
  readonly #sessionId: string | undefined;
  /** End of life in epoch milliseconds of this device's clock. For display: the manager measures elapsed time. */
  declare readonly expiresAt: number;
  /** Whole lifetime in milliseconds. */
  declare readonly lifetimeMs: number;
  /** How far the server's clock is ahead of this device's, in milliseconds. 0 when unknown. */
  declare readonly skewMs: number;
  declare readonly session: SessionSummary | undefined;
  /** How to connect. Undefined when the source does not say. */
  declare readonly connect: Connect | undefined;

  constructor(value: string, sessionId: string | undefined, facts: TokenFacts) {
    this.#value = value;
    this.#sessionId = sessionId;
    Object.assign(this, facts);
  }

  /** The secret, `ek_…`. */
  get value(): string {
    return this.#value;
  }

  /** The same: its name in the original clients. */
  get token(): string {
    return this.#value;
  }

  /** The broker's session, which a refresh names. Whoever knows it can refresh, so it is hidden like the value. */
  get sessionId(): string | undefined {
    return this.#sessionId;
  }

  /** For logs and screens: `ek_…9f3a`. A short value is masked completely. */
  get masked(): string {
    const value = this.#value;
    return value.length < 16 ? '…' : `${value.slice(0, 3)}…${value.slice(-4)}`;
  }

  toString(): string {
    return this.masked;
  }

  toJSON(): object {
    return { ...this, token: this.masked };
  }
}
