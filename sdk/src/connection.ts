// A connection: microphone first, then key, then connecting. Everything that it opened is closed on every way out.
import type { FollowedCall } from './call/follow.js';
import type { EndReason } from './call/snapshot.js';
import { checkAborted, type Clock, pause, stopwatch } from './clock.js';
import { TokenError } from './errors.js';
import { createListeners, type Listeners, type ListenOptions } from './events.js';
import { isKeyRefused, withFreshKey } from './fresh-key.js';
import type { Hold } from './presence.js';
import type { Connect } from './token.js';
import type { TokenManager } from './token-manager.js';

/** The status of the connection alone: a key that expires ends no conversation. */
export type ConnectionStatus = 'disconnected' | 'connecting' | 'connected';

export type ConnectionErrorCode =
  | 'microphone_denied'
  | 'microphone_missing'
  | 'network'
  | 'refused'
  | 'invalid_answer'
  | 'unsupported_mode'
  | 'timeout'
  | 'lost'
  | 'ended'
  | 'failed';

const HINTS: Record<ConnectionErrorCode, string> = {
  microphone_denied: 'Allow the microphone in the settings of the page and connect again. It needs https or localhost.',
  microphone_missing: 'No microphone can be used.',
  network: 'The other side cannot be reached: network, CORS or Content-Security-Policy.',
  refused: 'The offer was refused. See status and message.',
  invalid_answer: 'The answer is not SDP: is this URL right?',
  unsupported_mode: 'This client does not know the mode of the broker.',
  timeout: 'No connection in time: a firewall may block UDP.',
  lost: 'The connection broke. A new one starts without the context of the old one.',
  ended: 'The call was ended. See reason.',
  failed: 'Connecting failed. See cause.',
};

/** A failure to connect, or to stay connected. */
export class ConnectionError extends Error {
  readonly code: ConnectionErrorCode;
  readonly hint: string;
  /** Status of the answer, when it was refused. */
  readonly status: number | undefined;
  /** Why the call ended, when it ended. */
  readonly reason: EndReason | null | undefined;
  /** Of a refusal by the broker, as in a {@link TokenError}: `money_exhausted`, `call_limit`, `ticket_used`, … */
  declare readonly brokerCode: TokenError['brokerCode'];
  declare readonly limit: string | undefined;
  declare readonly retryAfterMs: number | undefined;

  constructor(code: ConnectionErrorCode, message?: string, details: { status?: number; reason?: EndReason | null; cause?: unknown } = {}) {
    super(message ?? HINTS[code], { cause: details.cause });
    this.name = 'ConnectionError';
    this.code = code;
    this.hint = HINTS[code];
    this.status = details.status;
    this.reason = details.reason;
    const { brokerCode, limit, retryAfterMs } = Object(details.cause) as Partial<TokenError>;
    Object.assign(this, { brokerCode, limit, retryAfterMs });
  }
}

/** Returns the error for a call that has ended for `reason`. */
export const ended = (reason: EndReason | null): ConnectionError =>
  new ConnectionError('ended', `The call has ended${reason ? `: ${reason}` : ''}.`, { reason });

/** What a connection can fail with: its own errors, and those of the key. */
export type ConnectionFailure = ConnectionError | TokenError;

/** What `connect` is given. */
export interface ConnectContext {
  apiKey: string;
  /** How the key's source says to connect. */
  connect?: Connect | undefined;
  /** Aborts when the connection is no longer wanted. */
  signal: AbortSignal;
  /** The microphone, or null without one. */
  stream: MediaStream | null;
  /** Call it when the connection breaks by itself. */
  lost: (reason?: unknown) => void;
  /** The clock of the token manager. */
  clock: Clock;
}

/** The result of `connect`. It is closed when the connection ends. */
export interface Closable {
  close?(): unknown;
  /** The call at the broker, where the broker holds the call. The connection ends with it. */
  readonly call?: FollowedCall | null;
}

export interface ConnectionOptions<S extends Closable> {
  tokens: TokenManager;
  /** Connects with a key. It is called again with a new key when the first was refused. */
  connect: (context: ConnectContext) => Promise<S>;
  /** True asks for the microphone. A stream of your own is used and stays open. False connects without. True. */
  microphone?: boolean | MediaTrackConstraints | MediaStream;
  /** Upper bound for automatic reconnects in a row after the connection broke. 0. */
  reconnect?: number;
}

export interface ConnectionSnapshot<S> {
  readonly status: ConnectionStatus;
  readonly error: ConnectionFailure | null;
  readonly session: S | null;
  /** The call at the broker, where the broker holds the call. It stays when the connection ends. */
  readonly call: FollowedCall | null;
  /** The duration of each step in milliseconds. */
  readonly timings: { readonly microphone?: number; readonly key?: number; readonly connect?: number };
}

export interface ConnectionEvents {
  status: ConnectionStatus;
  /** Reconnected, as a new conversation that knows nothing of the old one. */
  contextLost: { reason: unknown };
}

const NOTHING: ConnectionSnapshot<never> = Object.freeze({ status: 'disconnected', error: null, session: null, call: null, timings: {} });
/** Ends of calls that another call may cure. The others are decisions. */
const CURABLE = /provider|blind|shutdown/;
/** A connection that lived this long resets the count of reconnects, in milliseconds. */
const STABLE_MS = 30_000;
/** Upper bound for the age of a key that a reconnect may reuse, in milliseconds. */
const YOUNG_MS = 10_000;

/** A connection that can be opened, lost and opened again. */
export class Connection<S extends Closable, Events extends ConnectionEvents = ConnectionEvents> {
  /** May be replaced at any time; the next attempt uses it. */
  options: ConnectionOptions<S>;
  protected readonly listeners: Listeners<Events & { change: undefined }> = createListeners();
  #snapshot: ConnectionSnapshot<S> = NOTHING;
  #controller = new AbortController();
  #stream: MediaStream | null = null;
  /** Stops the stream, unless it was supplied. */
  #release: () => void = () => {};
  #hold: Hold | null = null;
  #running: Promise<void> = Promise.resolve();
  #breaks = 0;

  constructor(options: ConnectionOptions<S>) {
    this.options = options;
  }

  readonly getSnapshot = (): ConnectionSnapshot<S> => this.#snapshot;

  readonly subscribe = (listener: () => void): (() => void) => this.listeners.on('change', (() => listener()) as never);

  on<K extends keyof Events>(type: K, listener: (event: Events[K]) => void, options?: ListenOptions): () => void {
    return this.listeners.on(type, listener as never, options);
  }

  /** Connects, unless it is connecting or connected. Never rejects: see `error` in the snapshot. */
  readonly connect = (): Promise<void> => {
    if (this.#snapshot.status === 'disconnected') {
      this.#breaks = 0;
      this.#running = this.#open();
    }
    return this.#running;
  };

  /** Ends the connection, also while it is connecting. */
  readonly disconnect = (): void => this.#end(null);

  #end(error: ConnectionFailure | null): void {
    this.#controller.abort();
    const { session } = this.#snapshot;
    this.#release();
    this.#release = () => {};
    this.#stream = null;
    this.#hold?.release();
    this.#hold = null;
    this.#set({ status: 'disconnected', error, session: null });
    void close(session);
  }

  /** `broken` is why the last connection ended, when this one replaces it. */
  async #open(broken?: { reason: unknown }): Promise<void> {
    const { tokens, connect, microphone = true } = this.options;
    const { signal } = (this.#controller = new AbortController());
    const { clock } = tokens;
    let step = stopwatch(clock);
    const timings: { microphone?: number; key?: number; connect?: number } = {};
    const took = (name: keyof typeof timings): void => {
      timings[name] = step();
      step = stopwatch(clock);
    };
    this.#set({ status: 'connecting', error: null, session: null, call: null });
    this.#hold ??= tokens.hold();
    try {
      if (broken) {
        await pause(clock, 250 * 2 ** this.#breaks, signal);
        checkAborted(signal);
        const age = (tokens.getCurrentToken()?.lifetimeMs ?? 0) - tokens.getTimeUntilExpiration();
        if (isKeyRefused(broken.reason)) tokens.invalidate('the key was refused');
        // Without a new key, one that still lives is used.
        else if (age > YOUNG_MS) await tokens.refreshToken({ signal }).catch(() => {});
        checkAborted(signal);
      }
      // The prompt for the microphone can stay open longer than a key lives, so it comes first.
      const before = this.#stream;
      const stream = before ?? (await open(microphone));
      if (!before) {
        // Decided now, because the options may be replaced while the connection lives.
        const letGo = (): void => release(stream, microphone);
        if (signal.aborted) return letGo();
        this.#stream = stream;
        this.#release = letGo;
      }
      took('microphone');
      const session = await withFreshKey(tokens, (apiKey, token) => {
        checkAborted(signal);
        took('key');
        const lost = (reason?: unknown): void => {
          // The broker knows whether a call broke or was hung up. If it was, `ended` comes first.
          const asked = this.#snapshot.call?.look();
          if (asked) void asked.then(() => this.#lost(signal, reason));
          else this.#lost(signal, reason);
        };
        return connect({ apiKey, connect: token.connect, signal, stream, clock, lost });
      });
      if (signal.aborted) return void close(session);
      took('connect');
      const call = (session as S | undefined)?.call ?? null;
      this.#set({ status: 'connected', error: null, session, call, timings });
      call?.on('ended', ({ reason }) => this.#lost(signal, ended(reason)));
      void pause(clock, STABLE_MS, signal).then(() => signal.aborted || (this.#breaks = 0));
      if (broken) this.listeners.emit('contextLost', broken as never);
    } catch (error) {
      if (signal.aborted) return;
      if (broken) this.#lost(signal, error);
      else this.#end(known(error, 'failed'));
    }
  }

  #lost(signal: AbortSignal, cause: unknown): void {
    if (signal.aborted) return;
    const error = known(cause, 'lost');
    const { code, reason } = error as ConnectionError;
    if (code === 'ended' && !CURABLE.test(`${reason}`)) return this.#end(reason === 'hung_up' ? null : error);
    if (this.#breaks++ >= (this.options.reconnect ?? 0)) return this.#end(error);
    this.#controller.abort();
    const { session } = this.#snapshot;
    this.#running = this.#open({ reason: error });
    void close(session);
  }

  #set(change: Partial<ConnectionSnapshot<S>>): void {
    const before = this.#snapshot.status;
    this.#snapshot = Object.freeze({ ...this.#snapshot, ...change });
    this.listeners.emit('change', undefined as never);
    if (before !== this.#snapshot.status) this.listeners.emit('status', this.#snapshot.status as never);
  }
}

/** Returns an error of the client. Others become its cause and lend it their message and status. */
function known(error: unknown, code: 'lost' | 'failed'): ConnectionFailure {
  if (error instanceof ConnectionError || TokenError.is(error)) return error;
  const { message, status } = Object(error) as { message?: string; status?: number };
  return new ConnectionError(code, message, { ...(status && { status }), cause: error });
}

/** Closes a session of any SDK. Its errors do not matter any more. */
async function close(session: Closable | null): Promise<void> {
  try {
    await session?.close?.();
  } catch {}
}

/** Stops the microphone, unless the stream was supplied. */
function release(stream: MediaStream | null, microphone: unknown): void {
  if (stream !== microphone) for (const track of stream?.getTracks() ?? []) track.stop();
}

async function open(microphone: boolean | MediaTrackConstraints | MediaStream): Promise<MediaStream | null> {
  if (!microphone) return null;
  if (typeof microphone === 'object' && 'getTracks' in microphone) return microphone;
  try {
    return await navigator.mediaDevices.getUserMedia({ audio: microphone });
  } catch (cause) {
    throw new ConnectionError(/NotAllowed/.test(`${Object(cause).name}`) ? 'microphone_denied' : 'microphone_missing', undefined, { cause });
  }
}
