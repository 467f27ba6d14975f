// A page that plays the model: it answers offers, opens the channel, says hello and plays a tone.

/** Runs in the peer page. Answers `offer` and remembers the peer, so that a test can hang up. */
export async function answer(offer: string): Promise<string> {
  const peer = new RTCPeerConnection();
  const tone = new AudioContext();
  const out = tone.createMediaStreamDestination();
  const oscillator = tone.createOscillator();
  oscillator.connect(out);
  oscillator.start();
  peer.ondatachannel = ({ channel }) => {
    const send = (event: object): void => channel.send(JSON.stringify(event));
    const hello = (): void => send({ type: 'session.created', session: { type: 'realtime', expires_at: Date.now() / 1000 + 60.5 } });
    // A channel that is open here already may have told so before anybody listened.
    if (channel.readyState === 'open') hello();
    else channel.onopen = hello;
    channel.onmessage = ({ data }) => send({ type: 'heard', event: JSON.parse(data as string) });
  };
  await peer.setRemoteDescription({ type: 'offer', sdp: offer });
  for (const track of out.stream.getTracks()) peer.addTrack(track, out.stream);
  await peer.setLocalDescription();
  await new Promise<void>((resolve) => {
    if (peer.iceGatheringState === 'complete') resolve();
    peer.onicegatheringstatechange = () => peer.iceGatheringState === 'complete' && resolve();
  });
  Object.assign(window, { peers: [...((window as { peers?: object[] }).peers ?? []), peer] });
  return peer.localDescription?.sdp ?? '';
}

/** Runs in the peer page: ends every call from the other side. */
export function hangUp(): void {
  for (const peer of (window as unknown as { peers: RTCPeerConnection[] }).peers) peer.close();
}
