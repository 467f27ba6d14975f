// Owns the conversation: the one button that connects, the microphone or its stand-in, and what is said.
import type { Desk } from './desk.js';
import { need, write } from './dom.js';
import type { Falls } from './falls.js';
import { LevelStrip } from './levels.js';
import type { LocalModel } from './local-model.js';
import type { EventLog } from './log.js';
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
  /** Plays the model; null talks to OpenAI. */
  model: LocalModel | null;
}

const lacksMicrophone = (error: Error | null): error is ConnectionError =>
  error instanceof ConnectionError && error.code.startsWith('microphone');

/** Connects and disconnects. */
export class Talk {
  readonly #log: EventLog;
  readonly #falls: Falls;
  readonly #outcome: Outcome;
  readonly #connection: RealtimeConnection;
  readonly #transcript: Transcript;
  readonly #me = new LevelStrip(need<HTMLCanvasElement>('level-me'));
  readonly #them = new LevelStrip(need<HTMLCanvasElement>('level-model'));
  /** Speaks for somebody without a microphone. */
  #voice: Voice | null = null;
  #muted = false;
  #status: keyof typeof STATES = 'disconnected';
  /** The made-up voice takes one turn by itself after the greeting, so that there is something to see. */
  #hasSpoken = false;

  constructor({ desk, log, falls, outcome, model }: TalkParts) {
    this.#log = log;
    this.#falls = falls;
    this.#outcome = outcome;
    this.#transcript = new Transcript(model !== null);
    this.#connection = createRealtimeConnection({ tokens: desk.tokens, ...(model && { fetch: model.fetch }) });
    this.#connection.subscribe(() => this.#show());
    this.#connection.on('event', (event) => this.#hear(event));
    this.#connection.on('contextLost', () => this.#transcript.note('The call broke and was made again. The new one knows nothing of what was said.'));
    desk.changed.on(() => (this.#connection.options = { ...this.#connection.options, tokens: desk.tokens }));
    need('connect').addEventListener('click', () => this.#toggle());
    need('mute').addEventListener('click', () => this.#mute());
    need('say').addEventListener('submit', (event) => {
      event.preventDefault();
      this.#type();
    });
    write(need('peer'), model ? 'Local stand-in' : 'Model');
    this.#show();
  }

  #toggle(): void {
    if (this.#status !== 'disconnected') return this.#connection.disconnect();
    this.#transcript.clear();
    void this.#connect();
  }

  async #connect(): Promise<void> {
    await this.#connection.connect();
    const { error } = this.#connection.getSnapshot();
    if (!lacksMicrophone(error)) return;
    this.#voice ??= new Voice(130);
    this.#connection.options = { ...this.#connection.options, microphone: this.#voice.stream };
    const why = error.code === 'microphone_denied' ? 'The microphone was refused' : 'There is no microphone';
    this.#transcript.note(`${why}: a made-up voice speaks for you.`);
    this.#log.add({ from: 'call', text: `${error.code}: goes on with a made-up voice`, tone: 'warn' });
    await this.#connection.connect();
  }

  #show(): void {
    const { status, error, session, timings } = this.#connection.getSnapshot();
    const [label, tone] = STATES[status];
    const pill = need('call-status');
    write(pill, label);
    pill.dataset['tone'] = tone;
    write(need('connect'), LABELS[status]);
    const up = status === 'connected';
    for (const id of ['send', 'mute', 'hang-up']) document.getElementById(id)?.toggleAttribute('disabled', !up);
    need<HTMLInputElement>('words').placeholder = up ? 'Ask about the secret, the call, the price' : 'Connect, then talk or type';
    if (status === this.#status) return;
    this.#status = status;
    this.#outcome.add(`call ${label.toLowerCase()}`, up ? 'good' : 'warn');
    const held = error && { held: { name: error.name, message: error.message } };
    this.#log.add({ from: 'call', text: label.toLowerCase(), tone: up ? 'good' : error ? 'bad' : 'warn', ...held });
    if (error && !lacksMicrophone(error)) this.#transcript.note(`${error.message} ${Object(error).hint ?? ''}`);
    this.#listen();
    if (up && session) this.#falls.call({ ...timings, ...session.timings });
    this.#hasSpoken = false;
  }

  #listen(): void {
    const { session } = this.#connection.getSnapshot();
    const track = session?.peer.getSenders().find((sender) => sender.track)?.track;
    this.#me.listen(track ? new MediaStream([track]) : null);
    this.#them.listen(session?.remote ?? null);
    this.#muted = false;
    write(need('mute'), this.#voice ? 'Speak' : 'Mute');
    if (this.#voice) need('mute').removeAttribute('aria-pressed');
    write(need('microphone'), this.#voice ? 'Made-up voice' : 'Microphone');
  }

  #mute(): void {
    if (this.#voice) return void this.#voice.say(syllables(SAMPLE));
    this.#muted = !this.#muted;
    this.#connection.mute(this.#muted);
    need('mute').setAttribute('aria-pressed', `${this.#muted}`);
    write(need('mute'), this.#muted ? 'Muted' : 'Mute');
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
