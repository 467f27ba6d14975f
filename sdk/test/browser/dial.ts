// A page that calls through the broker without any SDK, and remembers what it saw.

export interface Dialled {
  peer: RTCPeerConnection;
  channel: RTCDataChannel;
  remote: MediaStream;
  offer: string;
  answer: string;
  status: number;
  /** The events of the data channel, in order. */
  events: { type: string }[];
  /** Where the call is found, and the ticket for it. */
  url: string;
  ticket: string;
}

/** Runs in the page. Opens a call at the broker with all addresses of the page in its offer. Its result is `window.dialled`. */
export async function dial({ broker, speaks }: { broker: string; speaks: boolean }): Promise<number> {
  const peer = new RTCPeerConnection();
  const remote = new MediaStream();
  peer.ontrack = ({ track }) => remote.addTrack(track);
  const microphone = await navigator.mediaDevices.getUserMedia({ audio: true });
  for (const track of microphone.getTracks()) {
    track.enabled = speaks;
    peer.addTrack(track, microphone);
  }
  const channel = peer.createDataChannel('oai-events');
  const events: { type: string }[] = [];
  channel.onmessage = ({ data }) => events.push(JSON.parse(`${data}`) as { type: string });
  await peer.setLocalDescription();
  while (peer.iceGatheringState !== 'complete') await new Promise((resolve) => peer.addEventListener('icegatheringstatechange', resolve, { once: true }));
  const offer = peer.localDescription?.sdp ?? '';
  const response = await fetch(`${broker}/calls`, { method: 'POST', headers: { 'content-type': 'application/sdp' }, body: offer });
  const { status, headers } = response;
  const answer = await response.text();
  const url = `${broker}${headers.get('location')}`;
  window.dialled = { peer, channel, remote, offer, answer, status, events, url, ticket: `${headers.get('x-call-token')}` };
  if (response.ok) await peer.setRemoteDescription({ type: 'answer', sdp: answer });
  return status;
}

export interface Look {
  state: string;
  reason?: string;
  turns: number;
  cost: string;
}

/** Runs in the page. Asks the broker about the call. */
export async function look(): Promise<Look> {
  const { url, ticket } = window.dialled;
  const response = await fetch(url, { headers: { authorization: `Bearer ${ticket}` } });
  return (await response.json()) as Look;
}

/** Runs in the page. Hangs up at the broker. Returns the status of the answer. */
export async function hangUp(): Promise<number> {
  const { url, ticket } = window.dialled;
  return (await fetch(`${url}/hangup`, { method: 'POST', headers: { authorization: `Bearer ${ticket}` } })).status;
}

/** Runs in the page. Resolves with the loudest sound until it is clearly heard, within ten seconds. */
export async function listen(): Promise<number> {
  const meter = window.lab.createLevelMeter(window.dialled.remote);
  // Chromium gives no samples of a stream that no element plays.
  const audio = new Audio();
  audio.srcObject = window.dialled.remote;
  await audio.play();
  let peak = 0;
  for (let n = 0; n < 500 && peak < 0.05; n++) {
    await new Promise((resolve) => setTimeout(resolve, 20));
    peak = Math.max(peak, meter.read());
  }
  meter.close();
  return peak;
}

declare global {
  interface Window {
    dialled: Dialled;
  }
}
