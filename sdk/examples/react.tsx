// The React example: a component whose status comes from the connection.
import type { TokenManager } from '@realtime-token-broker/client';
import { type ConnectContext, useRealtimeConnection, useTokenCountdown } from '@realtime-token-broker/client/react';
import type { ReactNode } from 'react';

export interface VoiceAgentProps {
  /** Created once, outside of components: `const tokens = createTokenManager({ baseUrl: '…' })`. */
  tokens: TokenManager;
  /** Starts a conversation with any SDK. Its result is closed at the end. */
  start: (context: ConnectContext) => Promise<{ close?(): unknown }>;
  microphone?: boolean;
}

export function VoiceAgent({ tokens, start, microphone = true }: VoiceAgentProps): ReactNode {
  const { status, error, connect, disconnect } = useRealtimeConnection({ tokens, connect: start, microphone });
  return (
    <div>
      <p>Status: {status}</p>
      <button onClick={status === 'connected' ? disconnect : connect} disabled={status === 'connecting'}>
        {status === 'connected' ? 'Disconnect' : 'Connect to Voice Agent'}
      </button>
      <Countdown tokens={tokens} />
      {error && <p role="alert">{error.message}</p>}
    </div>
  );
}

/** A component of its own, so that the rest does not render every second. */
function Countdown({ tokens }: { tokens: TokenManager }): ReactNode {
  const { secondsLeft } = useTokenCountdown(tokens);
  return <p>Key: {secondsLeft ?? '–'} s</p>;
}
