// Owns the choice of a microphone: shown while there is one, remembered as long as the page.
import { make, need } from './dom.js';

/** What Chromium lists beside the real ones. */
const ALIASES = ['default', 'communications'];

const sender = (peer: RTCPeerConnection | undefined): RTCRtpSender | undefined => peer?.getSenders().find(({ track }) => track);

/** The microphones that the browser tells about once it may. */
export class Microphones {
  readonly #select = need<HTMLSelectElement>('microphones');
  #chosen: string | null = null;
  /** Picked during a call: ours to stop, where the first one is the client's. */
  #own: MediaStreamTrack | null = null;
  #swaps = 0;
  #shown: MediaStreamTrack | null = null;

  constructor(pick: (id: string) => void) {
    this.#select.addEventListener('change', () => {
      this.#chosen = this.#select.value;
      pick(this.#chosen);
    });
    navigator.mediaDevices?.addEventListener('devicechange', () => this.#shown && void this.show(this.#shown));
  }

  /** What the next call asks for. */
  get wanted(): true | MediaTrackConstraints {
    return this.#chosen ? { deviceId: { exact: this.#chosen } } : true;
  }

  /** What was chosen is gone, so any will do. False when nothing was chosen. */
  forget(): boolean {
    const chosen = this.#chosen;
    this.#chosen = null;
    return chosen !== null;
  }

  /** Offers the choice, `track` being the one in use; hides it when there is nothing to choose. */
  async show(track: MediaStreamTrack | null): Promise<void> {
    this.#shown = track;
    const all = track ? await navigator.mediaDevices.enumerateDevices() : [];
    if (this.#shown !== track) return;
    const inputs = all.filter(({ kind, deviceId, label }) => kind === 'audioinput' && label && deviceId !== 'communications');
    const options = inputs.map(({ deviceId, label }) => {
      const option = make('option', label);
      option.value = deviceId;
      return option;
    });
    this.#select.replaceChildren(...options);
    this.#select.value = track?.getSettings().deviceId ?? '';
    const choosable = inputs.filter(({ deviceId }) => !ALIASES.includes(deviceId)).length > 1;
    this.#select.hidden = !choosable;
    need('microphone').hidden = choosable;
  }

  /** Speaks through another one from now on. Null when that cannot be, or a later choice overtook it. */
  async swap(peer: RTCPeerConnection, id: string): Promise<MediaStreamTrack | null> {
    const swap = ++this.#swaps;
    const stream = await navigator.mediaDevices.getUserMedia({ audio: { deviceId: { exact: id } } }).catch(() => null);
    const track = stream?.getAudioTracks()[0] ?? null;
    const way = sender(peer);
    if (!track || !way?.track || swap !== this.#swaps || peer.connectionState === 'closed') {
      track?.stop();
      void this.show(this.#shown);
      return null;
    }
    track.enabled = way.track.enabled;
    way.track.stop();
    this.#own = track;
    await way.replaceTrack(track);
    void this.show(track);
    return track;
  }

  /** What the call sends: what was picked during it, also after it was made anew. */
  sent(peer: RTCPeerConnection | undefined): MediaStreamTrack | null {
    const way = sender(peer);
    if (way && this.#own) void way.replaceTrack(this.#own);
    return way ? (this.#own ?? way.track) : null;
  }

  /** The call is over. */
  letGo(): void {
    this.#swaps++;
    this.#own?.stop();
    this.#own = null;
  }
}
