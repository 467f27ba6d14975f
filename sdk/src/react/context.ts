// How a component finds its manager.
import { createContext, createElement, type ReactElement, type ReactNode, useContext } from 'react';
import type { TokenManager } from '../token-manager.js';

const Manager = createContext<TokenManager | null>(null);

/** Provides a manager to the hooks below it. Create the manager outside of components. */
export function RealtimeTokenProvider(props: { manager: TokenManager; children?: ReactNode }): ReactElement {
  return createElement(Manager.Provider, { value: props.manager }, props.children);
}

/** Returns the given manager, or the provider's. */
export function useManager(given: TokenManager | undefined): TokenManager {
  const provided = useContext(Manager);
  const manager = given ?? provided;
  if (!manager) throw new Error('Pass a token manager, or put the component below a RealtimeTokenProvider.');
  return manager;
}
