import assert from 'node:assert/strict';
import { messageType, paddedLength } from '#dist/wireguard/messages.js';

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

describe('padding', () => {
  const cases: [length: number, mtu: number, padded: number][] = [
    [0, 1420, 0],
    [1, 1420, 16],
    [16, 1420, 16],
    [17, 1420, 32],
    [1408, 1420, 1408],
    // Not beyond the MTU, although 1424 is the next multiple.
    [1409, 1420, 1420],
    [1419, 1420, 1420],
    [1420, 1420, 1420],
    // Longer than the MTU: what is above a multiple of it counts.
    [1421, 1420, 1436],
    [2840, 1420, 2840],
    [2841, 1420, 2856],
    [2830, 1420, 2840],
    // An unknown MTU.
    [0, 0, 0],
    [1, 0, 16],
    [1421, 0, 1424],
    [65535, 0, 65536],
    [5, 1, 5],
  ];
  for (const [length, mtu, padded] of cases) {
    it(`makes ${length} bytes ${padded}, MTU ${mtu}`, () => assert.equal(paddedLength(length, mtu), padded));
  }
});
