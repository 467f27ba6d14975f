// Without any SDK: a key and one fetch, like the first page of OpenAI's documentation. At OpenAI, or through the broker.
import type { TokenManager } from '@realtime-token-broker/client';
import { OPENAI_CALLS } from '@realtime-token-broker/client/webrtc';

/** Microphone first, then the key, then the offer. */
export async function call(tokens: TokenManager, url?: string): Promise<RTCPeerConnection> {
  const microphone = await navigator.mediaDevices.getUserMedia({ audio: true });
  const peer = new RTCPeerConnection();
  for (const track of microphone.getTracks()) peer.addTrack(track, microphone);
  const voice = new Audio();
  peer.ontrack = ({ streams }) => {
    voice.srcObject = streams[0] ?? null;
    void voice.play();
  };
  peer.createDataChannel('oai-events');
  await peer.setLocalDescription();
  const { value: key, connect } = await tokens.takeToken();
  const answer = await fetch(url ?? connect?.calls ?? OPENAI_CALLS, {
    method: 'POST',
    headers: { Authorization: `Bearer ${key}`, 'Content-Type': 'application/sdp' },
    body: peer.localDescription?.sdp ?? '',
  });
  if (!answer.ok) throw new Error(`The offer was refused with ${answer.status}.`);
  await peer.setRemoteDescription({ type: 'answer', sdp: await answer.text() });
  return peer;
}
