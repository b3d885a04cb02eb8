import assert from 'node:assert/strict';
import type { PeerInfo } from 'tuntap-native/wireguard';
import { formatAge, formatRate, StatusLines } from '#dist/cli/status.js';

function peer(name: string, rest: Partial<PeerInfo> = {}): PeerInfo {
  const publicKey = `${name.padEnd(8, '=')}and the rest`;
  return {
    publicKey,
    hasPresharedKey: false,
    allowedIps: [],
    persistentKeepalive: 0,
    rxBytes: 0,
    txBytes: 0,
    ...rest,
  };
}

describe('the status of up', () => {
  for (const [rate, expected] of [
    [0, '0 B/s'],
    [999, '999 B/s'],
    [999.6, '1.0 kB/s'],
    [1234, '1.2 kB/s'],
    [9949, '9.9 kB/s'],
    [9960, '10 kB/s'],
    [999_499, '999 kB/s'],
    [999_500, '1.0 MB/s'],
    [12_345_678, '12 MB/s'],
    [5e12, '5000 GB/s'],
  ] as const) {
    it(`${rate} bytes a second are ${expected}`, () => assert.equal(formatRate(rate), expected));
  }

  for (const [seconds, expected] of [
    [-5, '0 s'],
    [179, '179 s'],
    [180, '3 min'],
    [10_799, '179 min'],
    [10_800, '3 h'],
    [259_199, '71 h'],
    [259_200, '3 d'],
  ] as const) {
    it(`${seconds} seconds are ${expected}`, () => assert.equal(formatAge(seconds * 1000), expected));
  }

  it('has a line per peer in columns, those heard last first, with rates since the line before', () => {
    const lines = new StatusLines();
    const a = peer('a', { endpoint: '[2001:db8::1]:51820', latestHandshake: 5000, rxBytes: 10, txBytes: 20 });
    const b = peer('b', { endpoint: '192.0.2.1:7', latestHandshake: 9000 });
    const c = peer('c');
    assert.deepEqual(lines.render([c, a, b], 10_000, 10, 200), [
      'b=======…  192.0.2.1:7          handshake 1 s ago  in 0 B/s  out 0 B/s',
      'a=======…  [2001:db8::1]:51820  handshake 5 s ago  in 0 B/s  out 0 B/s',
      'c=======…  no endpoint          no handshake yet   in 0 B/s  out 0 B/s',
    ]);
    const later = { ...a, rxBytes: 3010, txBytes: 1_000_020 };
    assert.deepEqual(lines.render([later], 12_000, 10, 200), [
      'a=======…  [2001:db8::1]:51820  handshake 7 s ago  in 1.5 kB/s  out 500 kB/s',
    ]);
  });

  it('fits into the terminal', () => {
    const many = Array.from({ length: 50 }, (_, i) => peer(`p${i}`));
    const lines = new StatusLines();
    const shown = lines.render(many, 1000, 5, 30);
    assert.equal(shown.length, 5);
    assert.equal(shown[4], 'and 46 more');
    assert.ok(shown.every((line) => line.length <= 30));
    assert.equal(lines.render(many.slice(0, 5), 2000, 5, 80).length, 5);
    assert.deepEqual(lines.render([], 3000, 5, 80), []);
    assert.deepEqual(lines.render(many, 4000, 0, 80), []);
  });
});
