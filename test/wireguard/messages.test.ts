import assert from 'node:assert/strict';
import { messageType } from '#dist/wireguard/messages.js';

describe('a message', () => {
  const lengths = new Map([
    [1, 148],
    [2, 92],
    [3, 64],
  ]);

  it('has a type only with the length of that type', () => {
    for (let type = 0; type < 10; type++) {
      for (let length = 0; length < 200; length++) {
        const datagram = Buffer.alloc(length).fill(type, 0, Math.min(length, 1));
        const expected = type === 4 ? length >= 32 : lengths.get(type) === length;
        assert.equal(messageType(datagram), expected ? type : undefined, `${type}, ${length}`);
      }
    }
  });

  it('has no type if a reserved byte is set', () => {
    for (const [type, length] of [...lengths, [4, 32]]) {
      for (let i = 1; i < 4; i++) {
        const datagram = Buffer.alloc(length).fill(type, 0, 1);
        datagram[i] = 0x80;
        assert.equal(messageType(datagram), undefined);
      }
    }
  });
});
