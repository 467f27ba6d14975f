// Types that users rely on. The file only has to compile. Each @ts-expect-error fails when the mistake is allowed.
import type { Closable, ConnectionError, ConnectionSnapshot } from '@realtime-token-broker/client/react';
import {
  createTokenManager,
  fromBroker,
  fromFunction,
  fromLiteral,
  getTokenManager,
  type RealtimeToken,
  type RefreshReason,
  TokenError,
  type TokenManager,
  type TokenManagerOptions,
  type TokenSnapshot,
  withFreshKey,
} from '@realtime-token-broker/client';

type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
const holds = <T extends true>(): T | undefined => undefined;

// As the original documents write it.
const tokens: TokenManager = getTokenManager({ baseUrl: 'https://yoursite.com', refreshThresholdSeconds: 30, enableAutoRefresh: true });
createTokenManager({ baseUrl: 'https://yoursite.com', refreshThresholdSeconds: 30, maxRetryAttempts: 3, enableAutoRefresh: true });
tokens.on('tokenRefreshed', ({ token }) => token.token.slice());
tokens.on('tokenExpired', () => {});
tokens.on('tokenError', ({ error, willRetry, nextAttemptAt }) => [error.hint, willRetry, nextAttemptAt]);
// @ts-expect-error there is no such event
tokens.on('tokenExploded', () => {});
// @ts-expect-error a token cannot be written to
(await tokens.requestToken()).value = 'ek_mine';
// @ts-expect-error there is no storage
createTokenManager({ storage: 'local' });

holds<Equal<ReturnType<TokenManager['requestToken']>, Promise<RealtimeToken>>>();
holds<Equal<TokenManager['getApiKey'], () => Promise<string>>>();
holds<Equal<ReturnType<TokenManager['getSnapshot']>, TokenSnapshot>>();
holds<Equal<TokenManager['takeToken'], () => Promise<RealtimeToken>>>();
holds<Equal<TokenManager['urls'], { token: string; calls: string; relay: string }>>();
// The error of a connection in React is the client's own, so its code is typed.
holds<Equal<ConnectionSnapshot<Closable>['error'], ConnectionError | TokenError | null>>();

holds<Equal<RefreshReason, 'initial' | 'scheduled' | 'forced' | 'demand' | 'resume' | 'online' | 'invalidated'>>();

const sources: TokenManagerOptions[] = [
  { source: fromBroker({ baseUrl: '/api/voice-agent', headers: async () => ({ Authorization: 'Bearer …' }) }) },
  { source: fromFunction(async ({ signal }) => ({ value: 'ek_…', expires_in: signal.aborted ? 0 : 60 })) },
  { source: fromLiteral('ek_…') },
];
const connected: Promise<number> = withFreshKey(tokens, async (apiKey) => apiKey.length);

/** What an error handler narrows. */
export function told(error: unknown): string {
  return TokenError.is(error) && error.code === 'rate_limited' ? `${error.retryAfterMs}` : `${sources.length} ${connected}`;
}
