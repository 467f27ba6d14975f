// Bundles the built client for a runtime that cannot load packages.
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const DIST = fileURLToPath(new URL('../../../dist/', import.meta.url));

/** Returns the core entry as one script. `iife` assigns it to the global `client`. */
export async function bundle(format: 'iife' | 'esm', contents = "export * from './index.js'"): Promise<string> {
  const { outputFiles } = await build({ stdin: { contents, resolveDir: DIST }, bundle: true, write: false, format, globalName: 'client', target: 'es2022' });
  return outputFiles[0]?.text ?? '';
}
