// The transcript: who said what, as it is said, and how long each answer took.
import { follow, make, need, write } from './dom.js';
import type { RealtimeEvent } from './sdk.js';
import { span } from './words.js';

const text = (value: unknown): string => (typeof value === 'string' ? value : '');

/** Shows each turn as its events arrive. */
export class Transcript {
  readonly #place = need('transcript');
  readonly #follow = follow(this.#place);
  readonly #turns = new Map<string, HTMLElement>();
  #askedAt: number | null = null;

  readonly #local: boolean;

  /** `local`: the model is a stand-in within this page. */
  constructor(local: boolean) {
    this.#local = local;
    this.clear();
  }

  clear(isLeashed = false): void {
    const hint = isLeashed
      ? 'The broker opens this call, counts its time and its price, and hangs up. Its simulated OpenAI hears you and hums; your audio never leaves this machine.'
      : this.#local
      ? 'A local stand-in plays the model; your audio never leaves this page. No microphone? A synthetic voice is used.'
      : 'Your audio goes to OpenAI, on your account. No microphone? A synthetic voice is used.';
    this.#place.replaceChildren(make('div.empty', make('p', make('b', 'Not connected')), make('p', hint)));
    this.#turns.clear();
  }

  /** Adds a remark between the turns. */
  note(words: string): void {
    this.#append(make('p.note', words));
  }

  /** Adds what the user typed. */
  typed(words: string): void {
    this.#askedAt = performance.now();
    this.#turn('you', 'You').append(words);
  }

  hear(event: RealtimeEvent): void {
    const response = text(event['response_id']);
    const { type } = event;
    if (type === 'input_audio_buffer.speech_stopped') {
      this.#askedAt = performance.now();
      const spoke = Number(event['audio_end_ms']) - Number(event['audio_start_ms'] ?? NaN);
      this.#turn('you', 'You').append(Number.isFinite(spoke) ? `(${span(Math.max(spoke, 0))} of speech)` : '(speech)');
    } else if (type === 'conversation.item.input_audio_transcription.completed') {
      this.#turn('you', 'You').append(text(event['transcript']));
    } else if (type === 'conversation.item.input_audio_transcription.delta' && !event['item_id']) {
      // GPT-Live has no turns: what the model said ends here.
      this.#turns.delete(response);
      this.#words('you', 'You', 'you').append(text(event['delta']));
    } else if (type === 'response.output_audio_transcript.delta' || type === 'response.output_text.delta') {
      this.#turns.delete('you');
      this.#answer(response).append(text(event['delta']));
      this.#follow();
    } else if (type === 'response.function_call_arguments.done') {
      const call = make('details', make('summary', `Tool call ${text(event['name'])}`), make('pre', text(event['arguments'])));
      this.#append(call);
    } else if (type === 'response.done') {
      const { id, status } = Object(event['response']) as { id?: string; status?: string };
      if (status === 'cancelled') this.#cut(`${id}`);
    }
  }

  #answer(response: string): HTMLElement {
    if (this.#turns.has(response)) return this.#words('model', 'Model', response);
    const took = this.#askedAt ? performance.now() - this.#askedAt : undefined;
    this.#askedAt = null;
    return this.#words('model', 'Model', response, took);
  }

  /** Returns the words of the turn with this key. Adds the turn if there is none. */
  #words(kind: string, who: string, key: string, tookMs?: number): HTMLElement {
    const words = this.#turns.get(key) ?? this.#turn(kind, who, tookMs);
    this.#turns.set(key, words);
    return words;
  }

  #cut(response: string): void {
    const turn = this.#turns.get(response);
    if (!turn) return;
    turn.classList.add('cut');
    const who = turn.parentElement?.querySelector('.who');
    if (who) write(who, 'Model, interrupted');
  }

  #turn(kind: string, who: string, tookMs?: number): HTMLElement {
    const words = make('p.words');
    const head = make('p.head', make('span.who', who));
    if (tookMs !== undefined) head.append(make('span.took', span(tookMs)));
    this.#append(make(`div.turn.${kind}` as 'div', head, words));
    return words;
  }

  #append(element: HTMLElement): void {
    this.#place.querySelector('.empty')?.remove();
    this.#place.append(element);
    this.#follow();
  }
}
