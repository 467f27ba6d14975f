// A local stand-in for the model: a second peer that answers the offer, listens for loudness and sends OpenAI's events.
import { reply, GREETING } from './replies.js';
import { createLevelMeter, type LevelMeter, type RealtimeEvent } from './sdk.js';
import { syllables, Voice } from './voice.js';

/** A pause of this length ends the user's turn, in milliseconds. */
const SILENCE_MS = 500;
const THINK_MS = 280;
const LOUD = 0.07;
/** Shortest sound that counts as speech, in milliseconds. A knock on the table does not count. */
const SPEECH_MS = 150;
const EAR_MS = 50;

/** One call that the stand-in has answered. */
class LocalCall {
  readonly #peer = new RTCPeerConnection();
  readonly #voice = new Voice(185);
  readonly #audio = new Audio();
  #channel: RTCDataChannel | null = null;
  #meter: LevelMeter | null = null;
  #ear: ReturnType<typeof setInterval> | undefined;
  #words: ReturnType<typeof setTimeout> | undefined;
  #speaking: { response: string; item: string } | null = null;
  #heardSince: number | null = null;
  #heardAt = 0;
  #loudMs = 0;
  #turn = 0;
  #closed = false;
  readonly #born = performance.now();

  async answer(offer: string): Promise<string> {
    const peer = this.#peer;
    peer.ondatachannel = ({ channel }) => this.#open(channel);
    peer.ontrack = ({ track }) => this.#listen(new MediaStream([track]));
    await peer.setRemoteDescription({ type: 'offer', sdp: offer });
    for (const track of this.#voice.stream.getTracks()) peer.addTrack(track, this.#voice.stream);
    await peer.setLocalDescription();
    if (peer.iceGatheringState !== 'complete') {
      await new Promise<void>((resolve) => {
        peer.onicegatheringstatechange = () => peer.iceGatheringState === 'complete' && resolve();
        // A stuck network interface must not delay the answer. The candidates gathered so far suffice.
        setTimeout(resolve, 1000);
      });
    }
    return peer.localDescription?.sdp ?? '';
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    clearInterval(this.#ear);
    clearTimeout(this.#words);
    this.#meter?.close();
    this.#voice.close();
    this.#audio.srcObject = null;
    this.#channel?.close();
    this.#peer.close();
  }

  #open(channel: RTCDataChannel): void {
    this.#channel = channel;
    channel.onmessage = ({ data }) => this.#told(JSON.parse(`${data}`) as RealtimeEvent);
    channel.onclose = () => this.close();
    const begin = (): void => {
      const session = { type: 'realtime', id: 'sess_local', model: 'local stand-in', expires_at: Math.floor(Date.now() / 1000) + 3600 };
      this.#send('session.created', { session });
      this.#say(GREETING);
    };
    if (channel.readyState === 'open') begin();
    else channel.onopen = begin;
  }

  #listen(stream: MediaStream): void {
    // Chromium decodes a remote track only when an element plays it.
    this.#audio.srcObject = stream;
    this.#audio.muted = true;
    void this.#audio.play().catch(() => {});
    this.#meter = createLevelMeter(stream);
    this.#ear = setInterval(() => this.#hark(), EAR_MS);
  }

  #hark(): void {
    const now = performance.now();
    const at = Math.round(now - this.#born);
    const loud = (this.#meter?.read() ?? 0) > LOUD;
    this.#loudMs = loud ? this.#loudMs + EAR_MS : 0;
    if (loud) {
      this.#heardAt = now;
      if (this.#heardSince === null && this.#loudMs >= SPEECH_MS) {
        this.#heardSince = at - SPEECH_MS;
        this.#interrupt();
        this.#send('input_audio_buffer.speech_started', { audio_start_ms: at });
      }
    } else if (this.#heardSince !== null && now - this.#heardAt > SILENCE_MS) {
      this.#send('input_audio_buffer.speech_stopped', { audio_start_ms: this.#heardSince, audio_end_ms: at - SILENCE_MS });
      this.#heardSince = null;
      this.#soon(null);
    }
  }

  #told(event: RealtimeEvent): void {
    const item = event['item'] as { id?: string; content?: { text?: string }[] } | undefined;
    if (event.type === 'conversation.item.create' && item) {
      this.#send('conversation.item.added', { item });
      const words = item.content?.[0]?.text ?? '';
      this.#soon(words);
    }
  }

  /** Answers after a short pause. */
  #soon(words: string | null): void {
    this.#interrupt();
    this.#words = setTimeout(() => this.#say(reply(words, this.#turn++)), THINK_MS);
  }

  #say(text: string): void {
    const id = `${Math.random().toString(36).slice(2, 8)}`;
    const [response, item] = [`resp_${id}`, `item_${id}`];
    this.#speaking = { response, item };
    this.#send('response.created', { response: { id: response, status: 'in_progress' } });
    this.#send('output_audio_buffer.started', { response_id: response });
    const words = text.split(/(?<= )/);
    const step = this.#voice.say(syllables(text)) / words.length;
    const next = (n: number): void => {
      const delta = words[n];
      if (delta === undefined) return this.#finish(text);
      this.#send('response.output_audio_transcript.delta', { response_id: response, item_id: item, delta });
      this.#words = setTimeout(() => next(n + 1), step);
    };
    next(0);
  }

  #finish(transcript: string): void {
    if (!this.#speaking) return;
    const { response, item } = this.#speaking;
    this.#speaking = null;
    this.#send('response.output_audio_transcript.done', { response_id: response, item_id: item, transcript });
    this.#send('output_audio_buffer.stopped', { response_id: response });
    this.#send('response.done', { response: { id: response, status: 'completed' } });
  }

  #interrupt(): void {
    clearTimeout(this.#words);
    if (!this.#speaking) return;
    const { response } = this.#speaking;
    this.#speaking = null;
    this.#voice.hush();
    this.#send('output_audio_buffer.cleared', { response_id: response });
    this.#send('response.done', { response: { id: response, status: 'cancelled' } });
  }

  #send(type: string, fields: object): void {
    const event_id = `event_${Math.random().toString(36).slice(2, 10)}`;
    if (this.#channel?.readyState === 'open') this.#channel.send(JSON.stringify({ type, event_id, ...fields }));
  }
}

/** Replaces OpenAI's endpoint for calls. */
export class LocalModel {
  #call: LocalCall | null = null;

  /** Answers an offer. Has the signature of `fetch`. */
  readonly fetch: typeof fetch = async (_, init) => {
    init?.signal?.throwIfAborted();
    this.#call?.close();
    const call = (this.#call = new LocalCall());
    // The client aborts when it gives up and when it hangs up.
    init?.signal?.addEventListener('abort', () => call.close());
    const sdp = await call.answer(`${init?.body}`);
    return new Response(sdp, { status: 201, headers: { 'content-type': 'application/sdp' } });
  };

  hangUp(): void {
    this.#call?.close();
    this.#call = null;
  }
}
