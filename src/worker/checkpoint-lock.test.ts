import { join } from 'node:path';
import { expect, test } from 'vitest';
import { socketAddress } from './checkpoint-lock.ts';

test('where the lock is a file, its path fits into the 103 bytes that macOS allows beside a usual temporary directory', () => {
  const temporary = '/var/folders/zz/zyxvpxvq6csfxvn_n0000000000000/T';
  const address = socketAddress('darwin', temporary, '0123456789abcdef'.repeat(4));
  expect(address.startsWith(join(temporary, 'rowcast-'))).toBe(true);
  expect(Buffer.byteLength(address)).toBeLessThanOrEqual(103);
});
