// Peers without a browser: globals that are replaced for a test.
import type { TestContext } from 'node:test';

/** Replaces globals until the test is over. */
export function pretend(t: TestContext, globals: Record<string, unknown>): void {
  for (const [name, value] of Object.entries(globals)) {
    const before = Object.getOwnPropertyDescriptor(globalThis, name);
    Object.defineProperty(globalThis, name, { value, configurable: true, writable: true });
    t.after(() => (before ? Object.defineProperty(globalThis, name, before) : Reflect.deleteProperty(globalThis, name)));
  }
}

export interface PretendedPeer {
  channel: { onmessage?: (event: { data: string }) => void; onclose?: () => void };
  connectionState: string;
  closed: boolean;
  onconnectionstatechange?: () => void;
}

/** Peers that connect at once, without a channel when the answer has none. The last one is the last of the result. */
export function pretendPeers(t: TestContext): PretendedPeer[] {
  const peers: PretendedPeer[] = [];
  class Peer {
    channel: PretendedPeer['channel'] & { onopen?: () => void; close(): void } = { close() {} };
    connectionState = 'connected';
    closed = false;
    declare onconnectionstatechange?: () => void;
    constructor() {
      peers.push(this);
    }
    createDataChannel = (): object => this.channel;
    addTransceiver(): void {}
    getSenders = (): object[] => [];
    createOffer = async (): Promise<object> => ({ sdp: 'v=0' });
    async setLocalDescription(): Promise<void> {}
    async setRemoteDescription({ sdp }: { sdp: string }): Promise<void> {
      if (sdp.includes('m=application 0')) {
        this.channel.onclose?.();
        this.onconnectionstatechange?.();
      } else this.channel.onopen?.();
    }
    close(): void {
      this.closed = true;
    }
  }
  pretend(t, { RTCPeerConnection: Peer, MediaStream: class {} });
  return peers;
}
