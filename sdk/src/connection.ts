// Owns the state of a connection: microphone first, then key, then connecting; what is ours is closed on every way out.
import { pause, stopwatch, systemClock } from './clock.js';
import { createListeners, type Listeners, type ListenOptions } from './events.js';
import { isKeyRefused, withFreshKey } from './fresh-key.js';
import type { Hold } from './presence.js';
import type { TokenManager } from './token-manager.js';

/** It comes from the connection alone: a key that expires ends no conversation. */
export type ConnectionStatus = 'disconnected' | 'connecting' | 'connected';

export type ConnectionErrorCode = 'microphone_denied' | 'microphone_missing' | 'network' | 'refused' | 'invalid_answer' | 'timeout' | 'lost';

const HINTS: Record<ConnectionErrorCode, string> = {
  microphone_denied: 'Allow the microphone in the settings of the page and connect again; it needs https or localhost.',
  microphone_missing: 'No microphone can be used.',
  network: 'No way to the other side: network, CORS or Content-Security-Policy.',
  refused: 'The offer was refused: status and message say why.',
  invalid_answer: 'The answer is no SDP: is this URL right?',
  timeout: 'No way through: a firewall may block UDP.',
  lost: 'The connection broke. A new one begins without the context of the old one.',
};

/** A failure to connect, or to stay connected. */
export class ConnectionError extends Error {
  readonly code: ConnectionErrorCode;
  readonly hint: string;
  /** Status of the answer, when it was refused. */
  readonly status: number | undefined;

  constructor(code: ConnectionErrorCode, message?: string, details: { status?: number; cause?: unknown } = {}) {
    super(message ?? HINTS[code], { cause: details.cause });
    this.name = 'ConnectionError';
    this.code = code;
    this.hint = HINTS[code];
    this.status = details.status;
  }
}

/** What `connect` is given. */
export interface ConnectContext {
  apiKey: string;
  /** Aborts when the connection is not wanted any more. */
  signal: AbortSignal;
  /** The microphone, or null without one. */
  stream: MediaStream | null;
  /** Call it when the connection breaks by itself. */
  lost: (reason?: unknown) => void;
}

/** What `connect` gives: closed when the connection ends. */
export interface Closable {
  close?(): unknown;
}

export interface ConnectionOptions<S extends Closable> {
  tokens: TokenManager;
  /** Connects with a key. It is called again with a new one when the key was refused. */
  connect: (context: ConnectContext) => Promise<S>;
  /** True asks for it; a stream of your own is used and stays yours; false connects without. True. */
  microphone?: boolean | MediaTrackConstraints | MediaStream;
  /** How often in a row to connect again by itself after the connection broke. 0. */
  reconnect?: number;
}

export interface ConnectionSnapshot<S> {
  readonly status: ConnectionStatus;
  readonly error: Error | null;
  readonly session: S | null;
  /** Milliseconds that the steps took. */
  readonly timings: { readonly microphone?: number; readonly key?: number; readonly connect?: number };
}

export interface ConnectionEvents {
  status: ConnectionStatus;
  /** Connected again, as a new conversation that knows nothing of the old one. */
  contextLost: { reason: unknown };
}

const NOTHING: ConnectionSnapshot<never> = Object.freeze({ status: 'disconnected', error: null, session: null, timings: {} });
/** A connection that lived so long makes the next break a first one again, in milliseconds. */
const STABLE_MS = 30_000;
/** A key that is younger serves a second attempt, in milliseconds. */
const YOUNG_MS = 10_000;

/** A connection that can be made, lost and made again. */
export class Connection<S extends Closable, Events extends ConnectionEvents = ConnectionEvents> {
  /** May be replaced at any time; the next attempt uses it. */
  options: ConnectionOptions<S>;
  protected readonly listeners: Listeners<Events & { change: undefined }> = createListeners();
  #snapshot: ConnectionSnapshot<S> = NOTHING;
  #controller = new AbortController();
  #stream: MediaStream | null = null;
  /** Lets go of the stream: stops it if it is ours. */
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

  /** Connects, unless it does already. Never rejects: how it went is in the snapshot. */
  readonly connect = (): Promise<void> => {
    if (this.#snapshot.status === 'disconnected') {
      this.#breaks = 0;
      this.#running = this.#open();
    }
    return this.#running;
  };

  /** Ends it, also while it is connecting. */
  readonly disconnect = (): void => this.#end(null);

  #end(error: Error | null): void {
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
    let step = stopwatch(systemClock);
    const timings: { microphone?: number; key?: number; connect?: number } = {};
    const took = (name: keyof typeof timings): void => {
      timings[name] = step();
      step = stopwatch(systemClock);
    };
    this.#set({ status: 'connecting', error: null, session: null });
    this.#hold ??= tokens.hold();
    try {
      if (broken) {
        await pause(systemClock, 250 * 2 ** this.#breaks, signal);
        signal.throwIfAborted();
        const age = (tokens.getCurrentToken()?.lifetimeMs ?? 0) - tokens.getTimeUntilExpiration();
        if (isKeyRefused(broken.reason)) tokens.invalidate('the key was refused');
        // If no new key is to be had, one that still lives will do.
        else if (age > YOUNG_MS) await tokens.refreshToken({ signal }).catch(() => {});
        signal.throwIfAborted();
      }
      // A prompt can stay open longer than a key lives, so the microphone comes first.
      const before = this.#stream;
      const stream = before ?? (await open(microphone));
      if (!before) {
        // Whose it is shows now: options may be replaced while the connection lives.
        const letGo = (): void => release(stream, microphone);
        if (signal.aborted) return letGo();
        this.#stream = stream;
        this.#release = letGo;
      }
      took('microphone');
      const session = await withFreshKey(tokens, (apiKey) => {
        signal.throwIfAborted();
        took('key');
        return connect({ apiKey, signal, stream, lost: (reason) => this.#lost(signal, reason) });
      });
      if (signal.aborted) return void close(session);
      took('connect');
      this.#set({ status: 'connected', error: null, session, timings });
      const stable = setTimeout(() => (this.#breaks = 0), STABLE_MS);
      signal.addEventListener('abort', () => clearTimeout(stable));
      if (broken) this.listeners.emit('contextLost', broken as never);
    } catch (error) {
      if (signal.aborted) return;
      if (broken) this.#lost(signal, error);
      else this.#end(error as Error);
    }
  }

  #lost(signal: AbortSignal, reason: unknown): void {
    if (signal.aborted) return;
    const error = reason instanceof Error ? reason : new ConnectionError('lost', undefined, { cause: reason });
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

/** Closes a session, which may be another SDK's: what goes wrong there is over with it. */
async function close(session: Closable | null): Promise<void> {
  try {
    await session?.close?.();
  } catch {}
}

/** Stops the microphone that we opened; a stream that was supplied stays as it is. */
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
