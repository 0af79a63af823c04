/**
 * All globals that src/base and src/core may use besides the language itself: tsconfig.core.json
 * knows no Node. A global that is missing here does not compile there.
 */

interface TextEncoder {
  encode(text: string): Uint8Array;
  encodeInto(text: string, into: Uint8Array): { readonly read: number; readonly written: number };
}
declare const TextEncoder: new () => TextEncoder;

interface TextDecoder {
  decode(bytes: Uint8Array): string;
}
declare const TextDecoder: new (
  encoding: 'utf-8',
  options: { readonly fatal: boolean; readonly ignoreBOM: true },
) => TextDecoder;

// Only for src/base/clock.ts: elsewhere .oxlintrc.json forbids these names.
declare const performance: { readonly timeOrigin: number; now(): number };
declare function setTimeout(wake: () => void, delayMs: number): object;
declare function clearTimeout(timer: object): void;
declare function setImmediate(wake: () => void): object;
declare function clearImmediate(timer: object): void;
