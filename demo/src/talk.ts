// The conversation: the button that connects, the microphone or a synthetic voice, and what is said.
import type { Desk } from './desk.js';
import { enable, need, write } from './dom.js';
import type { Falls } from './falls.js';
import { Leash, OPEN_TIMEOUT_MS } from './leash.js';
import { LevelStrip } from './levels.js';
import { Line } from './line.js';
import type { LocalModel } from './local-model.js';
import type { EventLog } from './log.js';
import { Microphones } from './microphones.js';
import type { Outcome } from './outcome.js';
import { ConnectionError, createRealtimeConnection, type RealtimeConnection, type RealtimeEvent } from './sdk.js';
import { Transcript } from './transcript.js';
import { syllables, Voice } from './voice.js';

const STATES = { disconnected: ['Not connected', 'rest'], connecting: ['Connecting', 'wait'], connected: ['Connected', 'good'] } as const;
const LABELS = { disconnected: 'Connect', connecting: 'Cancel', connected: 'Disconnect' } as const;
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
  readonly #log: EventLog;
  readonly #falls: Falls;
  readonly #outcome: Outcome;
  readonly #connection: RealtimeConnection;
  readonly #transcript: Transcript;
  readonly #model: LocalModel | null;
  readonly #leash: Leash;
  /** True when calls go through the broker, to the peer of its simulated OpenAI. */
  #isLeashed = false;
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
    this.#log = log;
    this.#falls = falls;
    this.#outcome = outcome;
    this.#model = model;
    this.#transcript = new Transcript(model !== null);
    this.#leash = new Leash(desk, { tell: (words) => this.#transcript.note(words), answered: () => this.#wait() });
    const way: typeof fetch = (url, init) => {
      // In call mode the client follows its call through this, too.
      const taker = init?.method !== 'POST' || !/calls$/.test(`${url}`) ? null : this.#isLeashed || this.#leash.isOwn(url) ? this.#leash : model;
      return taker?.fetch(url, init) ?? fetch(url, init);
    };
    this.#connection = createRealtimeConnection({ tokens: desk.tokens, fetch: way });
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
    need('way').addEventListener('click', () => this.#lead(!this.#isLeashed));
    need('way').hidden = !model;
    this.#lead(false);
    this.#show();
  }

  /** Uses the keys of whoever is signed in. A call belongs to the person who opened it, so it ends with a change. */
  #follow({ tokens, person }: Desk): void {
    if (tokens === this.#connection.options.tokens) return;
    this.#connection.options = { ...this.#connection.options, tokens };
    if (this.#status === 'disconnected') return;
    this.#connection.disconnect();
    this.#transcript.note(`${person ? `Signed in as ${person.name}` : 'Signed out'}: the call of the user before has ended.`);
  }

  /** Chooses the way of the next call: through the broker, or to the stand-in of this page. */
  #lead(isLeashed: boolean): void {
    this.#isLeashed = isLeashed;
    need('way').setAttribute('aria-pressed', `${isLeashed}`);
    write(need('peer'), isLeashed ? 'Simulated OpenAI' : this.#model ? 'Local stand-in' : 'Model');
    if (this.#status === 'disconnected') this.#transcript.clear(isLeashed);
    // Whoever was hung up on by the broker is not to call again at once.
    this.#connection.options = { ...this.#connection.options, reconnect: isLeashed ? 0 : 3 };
  }

  /** Goes on with the stand-in when the peer behind the broker cannot be reached. */
  #wait(): void {
    setTimeout(() => {
      if (this.#status !== 'connecting' || !this.#isLeashed) return;
      this.#leash.forget();
      this.#connection.disconnect();
      this.#lead(false);
      this.#transcript.note('No connection within 3 s. A browser needs a network interface that is up, and the broker a build with real peers. This page goes on with its local stand-in.');
      void this.#connect();
    }, OPEN_TIMEOUT_MS);
  }

  #toggle(): void {
    if (this.#status !== 'disconnected') return this.#connection.disconnect();
    this.#transcript.clear(this.#isLeashed);
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
    const { status, error, session, timings } = this.#connection.getSnapshot();
    const [label, tone] = STATES[status];
    const pill = need('call-status');
    write(pill, label);
    pill.dataset['tone'] = tone;
    write(need('connect'), LABELS[status]);
    need('connect').toggleAttribute('data-ends', status !== 'disconnected');
    const up = status === 'connected';
    for (const id of ['send', 'mute', 'hang-up']) {
      const control = document.getElementById(id);
      if (control) enable(control, up);
    }
    need<HTMLInputElement>('words').placeholder = up ? 'Type a message' : 'Connect first';
    if (status === this.#status) return;
    this.#status = status;
    this.#outcome.add(`call ${label.toLowerCase()}`, up ? 'good' : 'warn');
    const held = error && { held: { name: error.name, message: error.message } };
    this.#log.add({ from: 'call', text: label.toLowerCase(), tone: up ? 'good' : error ? 'bad' : 'warn', ...held });
    // Why a call through the broker ended, the broker says.
    const isTold = this.#isLeashed && error instanceof ConnectionError && error.code === 'lost';
    if (error && !isTold && !lacksMicrophone(error)) this.#transcript.note([...new Set([error.message, Object(error).hint])].filter(Boolean).join(' '));
    this.#listen();
    // The stand-in greets; the simulated OpenAI waits.
    if (up && this.#isLeashed) this.#transcript.note('Connected through the broker. Speak, or type a message.');
    if (up && session) this.#falls.call({ ...timings, ...session.timings });
    this.#hasSpoken = false;
  }

  #listen(): void {
    const { session } = this.#connection.getSnapshot();
    if (this.#status === 'disconnected') this.#rest();
    const track = this.#microphones.sent(session?.peer);
    this.#me.listen(track ? new MediaStream([track]) : null);
    this.#them.listen(session?.remote ?? null);
    this.#line.watch(session?.peer ?? null);
    // Muting outlasts a reconnect.
    this.#mute(this.#muted);
    write(need('microphone'), this.#voice ? 'Synthetic voice' : 'Microphone');
    if (track) void this.#microphones.show(this.#voice ? null : track);
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
    if (!session) return;
    const track = await this.#microphones.swap(session.peer, id);
    if (!track || this.#connection.getSnapshot().session !== session) return;
    track.enabled = !this.#muted;
    this.#me.listen(new MediaStream([track]));
    this.#log.add({ from: 'call', text: `speaks through ${track.label}` });
  }

  #type(): void {
    const input = need<HTMLInputElement>('words');
    const words = input.value.trim();
    const item = { type: 'message', role: 'user', content: [{ type: 'input_text', text: words }] };
    if (!words || !this.#say({ type: 'conversation.item.create', item })) return;
    this.#say({ type: 'response.create' });
    this.#transcript.typed(words);
    input.value = '';
  }

  #say(event: RealtimeEvent): boolean {
    this.#log.add({ from: 'model', text: `→ ${event.type}`, held: event });
    return this.#connection.send(event);
  }

  #hear(event: RealtimeEvent): void {
    this.#log.add({ from: 'model', text: `← ${event.type}`, held: event });
    this.#transcript.hear(event);
    if (event.type === 'output_audio_buffer.started') this.#falls.spoken();
    if (event.type === 'error') this.#transcript.note(`${Object(event['error']).message ?? 'The model reports an error.'}`);
    if (event.type === 'output_audio_buffer.stopped' && this.#voice && !this.#hasSpoken) {
      this.#hasSpoken = true;
      setTimeout(() => this.#status === 'connected' && this.#voice?.say(syllables(SAMPLE)), 600);
    }
  }
}
