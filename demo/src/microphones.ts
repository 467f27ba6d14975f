// The choice of a microphone: shown when there are several, remembered until the page is left.
import { make, need } from './dom.js';

/** Entries that Chromium lists beside the real devices. */
const ALIASES = ['default', 'communications'];

const sender = (peer: RTCPeerConnection | undefined): RTCRtpSender | undefined => peer?.getSenders().find(({ track }) => track);

/** The microphones. The browser lists them only with permission. */
export class Microphones {
  readonly #select = need<HTMLSelectElement>('microphones');
  #chosen: string | null = null;
  /** The track picked during a call, which this class has to stop. The client stops the first track. */
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

  /** The constraints for the next call. */
  get wanted(): true | MediaTrackConstraints {
    return this.#chosen ? { deviceId: { exact: this.#chosen } } : true;
  }

  /** Drops a choice whose device is gone. Returns false when nothing was chosen. */
  forget(): boolean {
    const chosen = this.#chosen;
    this.#chosen = null;
    return chosen !== null;
  }

  /** Shows the choice, with `track` as the one in use. Hides it when there is nothing to choose. */
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

  /** Switches the call to another microphone. Returns null when that fails or a later choice overtook it. */
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

  /** Returns the track that the call sends. A track picked during the call outlasts a reconnect. */
  sent(peer: RTCPeerConnection | undefined): MediaStreamTrack | null {
    const way = sender(peer);
    if (way && this.#own) void way.replaceTrack(this.#own);
    return way ? (this.#own ?? way.track) : null;
  }

  /** Stops the picked track when the call is over. */
  letGo(): void {
    this.#swaps++;
    this.#own?.stop();
    this.#own = null;
  }
}
