/** Where Rowcast reports what happens: the part of pino's interface that it calls. */

export interface Logger {
  debug(fields: object, text: string): void;
  info(fields: object, text: string): void;
  warn(fields: object, text: string): void;
  error(fields: object, text: string): void;
}

const silence = (): void => {};

export const silentLogger: Logger = Object.freeze({ debug: silence, info: silence, warn: silence, error: silence });
