/** The generations of the protocol. A primary's POSITION tells which one it speaks. */

export interface Dialect {
  readonly name: string;
  /** Whether rows can be followed in this generation. */
  readonly isSupported: boolean;
}

/**
 * The generation by the number of arguments of POSITION: stream and token; with the instance; with
 * two tokens.
 */
const byFields: Readonly<Record<number, Dialect>> = {
  2: { name: 'Synapse 1.3 to 1.12, or another primary that speaks like it', isSupported: true },
  3: { name: 'Synapse 1.13 to 1.21', isSupported: false },
  4: { name: 'Synapse 1.22 to 1.66', isSupported: false },
};

/** @param fields the number of arguments of POSITION; undefined when none came */
export function dialectOf(fields: number | undefined, isRowcast: boolean): Dialect {
  if (isRowcast) return { name: 'Rowcast (rowcast/2)', isSupported: true };
  if (fields === undefined) return { name: 'not known: it has told no position', isSupported: true };
  return byFields[fields] ?? { name: `not known: its POSITION has ${fields} arguments`, isSupported: false };
}
