// The public surface of the core entry.
export type { TokenResponse } from './answer.js';
export type { Clock } from './clock.js';
export { type BrokerCode, TokenError, type TokenErrorCode, type TokenErrorDetails } from './errors.js';
export type { ListenOptions } from './events.js';
export { withFreshKey } from './fresh-key.js';
export type { Logger, PageLike, RequestOptions, TokenManagerOptions } from './options.js';
export type { Hold } from './presence.js';
export { destroyTokenManager, getTokenManager } from './registry.js';
export type { ExpiryCause, Phase, TokenEvents, TokenSnapshot } from './snapshot.js';
export {
  type BrokerOptions,
  fromBroker,
  fromFunction,
  fromLiteral,
  type RefreshReason,
  type SourceContext,
  type TokenSource,
} from './sources.js';
export type { Connect, RealtimeToken, SessionSummary } from './token.js';
export { createTokenManager, type TokenManager } from './token-manager.js';
