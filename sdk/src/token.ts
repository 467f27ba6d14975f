// Owns the client secret while it is in memory: readable on purpose, never by accident.

/** What the broker tells about the upstream session: never instructions or tools. */
export interface SessionSummary {
  id?: string;
  model?: string;
  voice?: string;
  type?: string;
}

/** The parts of a token. */
export interface TokenParts {
  value: string;
  expiresAt: number;
  lifetimeMs: number;
  sessionId?: string | undefined;
  session?: SessionSummary | undefined;
}

/** A client secret. Its value is in a private field: not enumerable, not in JSON, not in `util.inspect`. */
export class RealtimeToken {
  readonly #value: string;
  readonly #sessionId: string | undefined;
  /** End of life in epoch milliseconds on this device's clock. For display; the manager measures elapsed time instead. */
  readonly expiresAt: number;
  /** Life at birth, in milliseconds. */
  readonly lifetimeMs: number;
  readonly session: SessionSummary | undefined;

  constructor(parts: TokenParts) {
    this.#value = parts.value;
    this.#sessionId = parts.sessionId;
    this.expiresAt = parts.expiresAt;
    this.lifetimeMs = parts.lifetimeMs;
    this.session = parts.session;
  }

  /** The secret, `ek_…`. */
  get value(): string {
    return this.#value;
  }

  /** The same; the name in the original clients. */
  get token(): string {
    return this.#value;
  }

  /** The broker's session, which a refresh names. Whoever knows it can refresh, so it is hidden like the value. */
  get sessionId(): string | undefined {
    return this.#sessionId;
  }

  /** For logs and screens: `ek_…9f3a`. A short value is masked whole. */
  get masked(): string {
    const value = this.#value;
    return value.length < 16 ? '…' : `${value.slice(0, 3)}…${value.slice(-4)}`;
  }

  toString(): string {
    return this.masked;
  }

  toJSON(): { token: string; expiresAt: number; lifetimeMs: number; session: SessionSummary | undefined } {
    return { token: this.masked, expiresAt: this.expiresAt, lifetimeMs: this.lifetimeMs, session: this.session };
  }
}
