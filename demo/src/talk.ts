// The conversation: the button that connects, the microphone or a synthetic voice, and what is said.
import type { Desk } from './desk.js';
import { enable, need, write } from './dom.js';
import type { Falls } from './falls.js';
import { Leash } from './leash.js';
import { LevelStrip } from './levels.js';
import { Line } from './line.js';
import type { LocalModel } from './local-model.js';
import type { EventLog } from './log.js';
import { Microphones } from './microphones.js';
import type { Outcome } from './outcome.js';
import { ConnectionError, createRealtimeConnection, type RealtimeConnection, type RealtimeEvent, type TokenManager } from './sdk.js';
import { Transcript } from './transcript.js';
import { Tries } from './tries.js';
import { syllables, Voice } from './voice.js';

const STATES = { disconnected: ['Not connected', 'rest'], connecting: ['Connecting', 'wait'], connected: ['Connected', 'good'] } as const;
const LABELS = { disconnected: 'Connect', connecting: 'Cancel', connected: 'Disconnect' } as const;
/** Without a network interface a browser finds no way to any peer, and says nothing about it. */
const OPEN_TIMEOUT_MS = 3000;
/** The buttons that choose a way through the broker. */
const WAYS = [['way', 'call'], ['relay', 'relay']] as const;
const SAMPLE = 'Is anybody there? I would like to know how this works.';

export interface TalkParts {
  desk: Desk;
  log: EventLog;
  falls: Falls;
  outcome: Outcome;
  /** The local stand-in for the model, or null to call OpenAI. */
  model: LocalModel | null;
}

const lacksMicrophone = (error: Error | null): error is ConnectionError =>
  error instanceof ConnectionError && error.code.startsWith('microphone');

/** The card of the conversation. */
export class Talk {
  readonly #desk: Desk;
  readonly #log: EventLog;
  readonly #falls: Falls;
  readonly #outcome: Outcome;
  readonly #connection: RealtimeConnection;
  readonly #transcript: Transcript;
  readonly #model: LocalModel | null;
  readonly #leash: Leash;
  readonly #tries: Tries;
  /** How the next call goes: to the stand-in of this page or to OpenAI, through the broker, or by its relay. */
  #way: 'direct' | 'call' | 'relay' = 'direct';
  /** True once the broker has said that it wants calls through itself. */
  #isBrokers = false;
  /** True after the laptop was closed: this page hangs nothing up. */
  #isAsleep = false;
  readonly #me = new LevelStrip(need<HTMLCanvasElement>('level-me'));
  readonly #them = new LevelStrip(need<HTMLCanvasElement>('level-model'));
  readonly #line = new Line();
  readonly #microphones = new Microphones((id) => void this.#pick(id));
  /** Speaks in place of a missing microphone, for one call. The next call asks for the microphone again. */
  #voice: Voice | null = null;
  #muted = false;
  #status: keyof typeof STATES = 'disconnected';
  /** True once the synthetic voice has taken its one turn after the greeting. */
  #hasSpoken = false;

  constructor({ desk, log, falls, outcome, model }: TalkParts) {
    this.#desk = desk;
    this.#log = log;
    this.#falls = falls;
    this.#outcome = outcome;
    this.#model = model;
    this.#transcript = new Transcript(model !== null);
    const tell = (words: string): void => this.#transcript.note(words);
    this.#leash = new Leash(tell);
    const way: typeof fetch = async (url, init) => {
      if (this.#isAsleep && /hangup$/.test(`${url}`)) throw new TypeError('The laptop is closed.');
      const isOffer = /calls$/.test(`${url}`);
      if (isOffer && model && !this.#isLeashed) return model.fetch(url, init);
      const response = await fetch(url, init);
      if (isOffer && response.ok) this.#wait();
      return response;
    };
    const connection = (this.#connection = createRealtimeConnection({ tokens: desk.tokens, fetch: way }));
    this.#tries = new Tries({
      connection,
      log,
      isDev: desk.callPersona !== null,
      tell,
      say: (event) => this.#say(event),
      ask: (words) => this.#ask(words),
      hush: () => this.#hush(),
      vanish: () => {
        this.#isAsleep = true;
        const { session } = connection.getSnapshot();
        (session?.peer ?? session)?.close();
        this.#show();
      },
    });
    this.#connection.subscribe(() => this.#show());
    this.#connection.on('event', (event) => this.#hear(event));
    this.#connection.on('contextLost', () => this.#transcript.note('The call broke and was made again. The new call knows nothing of what was said.'));
    desk.changed.on(() => this.#follow(desk));
    need('connect').addEventListener('click', () => this.#toggle());
    need('mute').addEventListener('click', () => (this.#voice ? this.#voice.say(syllables(SAMPLE)) : this.#mute(!this.#muted)));
    need('say').addEventListener('submit', (event) => {
      event.preventDefault();
      this.#type();
    });
    for (const [id, way] of WAYS) {
      need(id).addEventListener('click', () => this.#lead(this.#way === way ? 'direct' : way));
      need(id).hidden = !model;
    }
    this.#lead('direct');
    this.#show();
  }

  /** Uses the keys of whoever is signed in. A call belongs to the person who opened it, so it ends with a change. */
  #follow({ tokens, person }: Desk): void {
    const mode = tokens.getCurrentToken()?.connect?.mode;
    if (!this.#isBrokers && (mode === 'call' || mode === 'relay')) {
      this.#isBrokers = true;
      this.#lead(mode);
    }
    if (this.#source === this.#connection.options.tokens) return;
    this.#connection.options = { ...this.#connection.options, tokens: this.#source };
    if (this.#status === 'disconnected') return;
    this.#connection.disconnect();
    this.#transcript.note(`${person ? `Signed in as ${person.name}` : 'Signed out'}: the call of the user before has ended.`);
  }

  get #source(): TokenManager {
    return this.#way === 'direct' ? this.#desk.tokens : this.#desk.tickets(this.#way);
  }

  /** True when calls go through the broker. */
  get #isLeashed(): boolean {
    return this.#way !== 'direct';
  }

  /** Chooses the way of the next call. */
  #lead(way: 'direct' | 'call' | 'relay'): void {
    this.#way = way;
    const isLeashed = this.#isLeashed;
    for (const [id, each] of WAYS) need(id).setAttribute('aria-pressed', `${each === way}`);
    write(need('peer'), !this.#model ? 'Model' : isLeashed ? 'Simulated OpenAI' : 'Local stand-in');
    need('leashed').hidden = !isLeashed;
    if (this.#status === 'disconnected') this.#transcript.clear(isLeashed);
    // Whoever was hung up on by the broker is not to call again at once.
    this.#connection.options = { ...this.#connection.options, tokens: this.#source, reconnect: isLeashed ? 0 : 3 };
  }

  /** Goes on with the stand-in when the peer behind the broker cannot be reached. */
  #wait(): void {
    setTimeout(() => {
      if (this.#status !== 'connecting' || !this.#isLeashed || !this.#model) return;
      this.#connection.disconnect();
      this.#lead('direct');
      this.#transcript.note('No connection within 3 s. A browser needs a network interface that is up, and the broker a build with real peers. This page goes on with its local stand-in.');
      void this.#connect();
    }, OPEN_TIMEOUT_MS);
  }

  #toggle(): void {
    if (this.#status !== 'disconnected') return this.#connection.disconnect();
    this.#transcript.clear(this.#isLeashed);
    this.#isAsleep = false;
    this.#voice?.close();
    this.#voice = null;
    void this.#connect();
  }

  async #connect(): Promise<void> {
    let error = await this.#speakThrough(this.#microphones.wanted);
    // The chosen microphone may have been unplugged.
    if (lacksMicrophone(error) && this.#microphones.forget()) error = await this.#speakThrough(true);
    if (!lacksMicrophone(error)) return;
    this.#voice = new Voice(130);
    const [why, cure] = error.code === 'microphone_denied' ? ['The microphone was refused', ' Allow it and connect again to speak yourself.'] : ['There is no microphone', ''];
    this.#transcript.note(`${why}: a synthetic voice speaks for you.${cure}`);
    this.#log.add({ from: 'call', text: `${error.code}: goes on with a synthetic voice`, tone: 'warn' });
    await this.#speakThrough(this.#voice.stream);
  }

  async #speakThrough(microphone: true | MediaTrackConstraints | MediaStream): Promise<Error | null> {
    this.#connection.options = { ...this.#connection.options, microphone };
    await this.#connection.connect();
    return this.#connection.getSnapshot().error;
  }

  #show(): void {
    const { status, error, session, call, timings } = this.#connection.getSnapshot();
    const [label, tone] = STATES[status];
    const pill = need('call-status');
    write(pill, label);
    pill.dataset['tone'] = tone;
    write(need('connect'), LABELS[status]);
    need('connect').toggleAttribute('data-ends', status !== 'disconnected');
    const up = status === 'connected';
    for (const id of ['send', 'mute', 'hang-up']) {
      const control = document.getElementById(id);
      // What drops calls is the stand-in.
      if (control) enable(control, up && !(id === 'hang-up' && call));
    }
    this.#leash.follow(call);
    this.#tries.enable(up && call !== null && !this.#isAsleep, session?.peer === null);
    need<HTMLInputElement>('words').placeholder = up ? 'Type a message' : 'Connect first';
    if (status === this.#status) return;
    this.#status = status;
    this.#outcome.add(`call ${label.toLowerCase()}`, up ? 'good' : 'warn');
    const held = error && { held: { name: error.name, message: error.message } };
    this.#log.add({ from: 'call', text: label.toLowerCase(), tone: up ? 'good' : error ? 'bad' : 'warn', ...held });
    // Why a call through the broker ended, the broker says.
    const isTold = this.#isLeashed && error instanceof ConnectionError && /lost|ended/.test(error.code);
    if (error && !isTold && !lacksMicrophone(error)) this.#transcript.note([...new Set([error.message, Object(error).hint])].filter(Boolean).join(' '));
    this.#listen();
    // The stand-in greets; the simulated OpenAI waits.
    if (up && call) this.#transcript.note('Connected through the broker. Speak, or type a message.');
    if (up && session) this.#falls.call({ ...timings, ...session.timings });
    this.#hasSpoken = false;
  }

  #listen(): void {
    const { session } = this.#connection.getSnapshot();
    if (this.#status === 'disconnected') this.#rest();
    const peer = session?.peer;
    const track = peer === null ? (session?.microphone?.getAudioTracks()[0] ?? null) : this.#microphones.sent(peer);
    this.#me.listen(track ? new MediaStream([track]) : null);
    this.#them.listen(session?.remote ?? null);
    this.#line.watch(peer ?? null);
    // Muting outlasts a reconnect.
    this.#mute(this.#muted);
    write(need('microphone'), this.#voice ? 'Synthetic voice' : 'Microphone');
    if (track) void this.#microphones.show(this.#voice || !peer ? null : track);
  }

  #rest(): void {
    this.#muted = false;
    this.#microphones.letGo();
  }

  #mute(muted: boolean): void {
    this.#muted = muted;
    const control = need('mute');
    if (this.#voice) {
      control.removeAttribute('aria-pressed');
      return write(control, 'Speak');
    }
    this.#connection.mute(muted);
    control.setAttribute('aria-pressed', `${muted}`);
    write(control, muted ? 'Muted' : 'Mute');
  }

  async #pick(id: string): Promise<void> {
    const { session } = this.#connection.getSnapshot();
    if (!session?.peer) return;
    const track = await this.#microphones.swap(session.peer, id);
    if (!track || this.#connection.getSnapshot().session !== session) return;
    track.enabled = !this.#muted;
    this.#me.listen(new MediaStream([track]));
    this.#log.add({ from: 'call', text: `speaks through ${track.label}` });
  }

  #type(): void {
    const input = need<HTMLInputElement>('words');
    const words = input.value.trim();
    if (words && this.#ask(words)) input.value = '';
  }

  #ask(words: string): boolean {
    const item = { type: 'message', role: 'user', content: [{ type: 'input_text', text: words }] };
    if (!this.#say({ type: 'conversation.item.create', item })) return false;
    this.#transcript.typed(words);
    return this.#say({ type: 'response.create' });
  }

  /** Keeps this side silent. */
  #hush(): void {
    this.#hasSpoken = true;
    this.#voice?.hush();
    if (!this.#voice) this.#mute(true);
  }

  #say(event: RealtimeEvent): boolean {
    this.#log.add({ from: 'model', text: `→ ${event.type}`, held: event });
    return this.#connection.send(event);
  }

  #hear(event: RealtimeEvent): void {
    this.#log.add({ from: 'model', text: `← ${event.type}`, held: event });
    this.#transcript.hear(event);
    this.#tries.hear(event);
    if (/^(output_audio_buffer\.started|response\.output_audio\.delta)$/.test(event.type)) this.#falls.spoken();
    if (event.type === 'error') this.#transcript.note(`${Object(event['error']).message ?? 'The model reports an error.'}`);
    if (event.type === 'output_audio_buffer.stopped' && this.#voice && !this.#hasSpoken) {
      this.#hasSpoken = true;
      setTimeout(() => this.#status === 'connected' && this.#voice?.say(syllables(SAMPLE)), 600);
    }
  }
}
