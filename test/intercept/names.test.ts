/** Fake addresses for names. The questions and answers are written out, as RFC 1035 has them. */

import assert from 'node:assert/strict';
import { FakeNames } from '#dist/intercept/names.js';

const A = 1;
const AAAA = 28;
const PTR = 12;
const HTTPS = 65;

function query(name: string, type: number, { id = 7, flags = 0x0100, kind = 1, count = 1 } = {}): Buffer {
  const labels = name === '' ? [] : name.split('.');
  const words = (...numbers: number[]) => Buffer.from(numbers.flatMap((word) => [word >> 8, word & 0xff]));
  return Buffer.concat([
    words(id, flags, count, 0, 0, 0),
    ...labels.map((label) => Buffer.concat([Buffer.of(label.length), Buffer.from(label, 'latin1')])),
    Buffer.of(0),
    words(type, kind),
  ]);
}

/** The only record's data, or the code. */
function ask(names: FakeNames, name: string, type: number): string | number {
  const question = query(name, type);
  const answer = names.answer(question);
  assert.ok(answer);
  assert.deepEqual(answer.subarray(12, question.length), question.subarray(12));
  assert.equal(answer.readUInt16BE(0), 7);
  assert.equal(answer.readUInt16BE(2) & 0xfff0, 0x8180, 'QR, RD, RA');
  assert.deepEqual(
    [4, 8, 10].map((at) => answer.readUInt16BE(at)),
    [1, 0, 0],
  );
  const code = answer.readUInt16BE(2) & 15;
  if (answer.readUInt16BE(6) === 0) {
    assert.equal(answer.length, question.length);
    return code;
  }
  assert.equal(code, 0);
  const at = question.length;
  assert.equal(answer.readUInt16BE(at), 0xc00c);
  assert.deepEqual([answer.readUInt16BE(at + 2), answer.readUInt16BE(at + 4)], [type, 1]);
  assert.equal(answer.readUInt32BE(at + 6), 1, 'TTL');
  assert.equal(answer.readUInt16BE(at + 10), answer.length - at - 12);
  const data = answer.subarray(at + 12);
  if (type === A) return data.join('.');
  return type === AAAA ? data.toString('hex').replace(/(.{4})(?!$)/g, '$1:') : data.toString('latin1');
}

describe('fake names', () => {
  it('have an address of each family, the same one each time, and are found by it', () => {
    const names = new FakeNames();
    const ipv4 = ask(names, 'example.com', A);
    const ipv6 = ask(names, 'example.com', AAAA);
    assert.match(`${ipv4}`, /^198\.1[89]\.[0-9]+\.[0-9]+$/);
    assert.match(`${ipv6}`, /^fd74:6e74:6e61:6d65:0000:0000:000[01]:[0-9a-f]{4}$/);
    assert.equal(ask(names, 'eXample.COM', A), ipv4);
    assert.notEqual(ask(names, 'example.org', A), ipv4);
    assert.equal(names.nameOf(`${ipv4}`), 'example.com');
    assert.equal(names.nameOf(`${ipv6}`), 'example.com');
  });

  it('tell unknown fake addresses from others', () => {
    const names = new FakeNames();
    for (const address of [
      '198.18.0.0',
      '198.19.255.255',
      'fd74:6e74:6e61:6d65::1',
      'fd74:6e74:6e61:6d65:1::',
    ]) {
      assert.deepEqual([names.isFake(address), names.nameOf(address)], [true, undefined], address);
    }
    for (const address of [
      '198.17.255.255',
      '198.20.0.0',
      '192.0.2.1',
      'fd74:6e74:6e61:6d66::1',
      'fe80::1%3',
    ]) {
      assert.deepEqual([names.isFake(address), names.nameOf(address)], [false, undefined], address);
    }
  });

  it('answer other questions with no record, and names that there can not be with NXDOMAIN', () => {
    const names = new FakeNames();
    assert.equal(ask(names, 'example.com', HTTPS), 0);
    assert.equal(ask(names, 'example.com', 255), 0);
    assert.equal(ask(names, '', 2), 0);
    assert.equal(ask(names, 'a\tb.example', A), 3);
    for (const address of [
      '192.0.2.1',
      '127.1',
      '0x7f000001',
      '2130706433',
      '0177.0.0.1',
      'a.0X7f',
      '1.2.3.4.5',
      '::1',
      '[::1]',
      '::ffff:7f00:1',
      'fe80::1%zz',
      'a/b.example',
      'a@b.example',
    ])
      assert.equal(ask(names, address, A), 3, address);
    for (const local of ['localhost', 'LocalHost', 'a.localhost'])
      assert.equal(ask(names, local, AAAA), 3, local);
    for (const name of ['localhost.example', 'mylocalhost', '1.example', '3com', 'a.0xg'])
      assert.match(`${ask(names, name, A)}`, /^198/, name);
    assert.match(`${ask(names, '_ldap._tcp.example.com', A)}`, /^198/);
  });

  it('are found by PTR', () => {
    const names = new FakeNames();
    const [, , third, fourth] = `${ask(names, 'example.com', A)}`.split('.');
    const second = `${ask(names, 'example.com', A)}`.split('.')[1];
    assert.equal(ask(names, `${fourth}.${third}.${second}.198.in-addr.arpa`, PTR), '\x07example\x03com\0');
    assert.equal(ask(names, `${fourth}.${third}.${second}.198.in-addr.arpa`, A), 0);
    const nibbles = `${ask(names, 'example.com', AAAA)}`.replaceAll(':', '').split('').reverse().join('.');
    assert.equal(ask(names, `${nibbles}.ip6.arpa`, PTR), '\x07example\x03com\0');
    assert.equal(ask(names, '1.2.0.192.in-addr.arpa', PTR), 3);
    assert.equal(ask(names, 'x.in-addr.arpa', PTR), 3);
  });

  it('answer what is no plain query with an error, and ignore what is none at all', () => {
    const names = new FakeNames();
    const code = (bytes: Buffer) => names.answer(bytes)?.readUInt16BE(2);
    assert.equal(code(query('example.com', A, { count: 2 })), 0x8181);
    assert.equal(code(query('example.com', A, { flags: 0x2900 })), 0xa981);
    assert.equal(code(query('example.com', A, { kind: 3 })), 0x8185);
    assert.equal(code(query('example.com', A, { flags: 0x8100 })), undefined, 'an answer');
    const good = query('example.com', A);
    for (let length = 0; length < good.length; length++)
      assert.equal(code(good.subarray(0, length)), undefined);
    assert.equal(code(query('a-b', A).fill('.', 14, 15)), undefined, 'a dot within a label');
    const pointer = Buffer.concat([good.subarray(0, 12), Buffer.of(0xc0, 4, 0, 1, 0, 1)]);
    assert.equal(code(pointer), undefined);
  });

  it('survive any bytes', () => {
    const names = new FakeNames(100);
    const good = query('a.example.com', A);
    for (let i = 0; i < 50_000; i++) {
      const bytes = Buffer.from(good);
      for (let k = 0; k < 3; k++)
        bytes[Math.floor(Math.random() * bytes.length)] = Math.floor(Math.random() * 256);
      const answer = names.answer(bytes);
      assert.ok(answer === undefined || answer.length <= 512);
    }
  });

  it('keep an address that is in use or was used lately, and give the others to new names', () => {
    let now = 0;
    const names = new FakeNames(3, () => now);
    const [first, second, third] = ['a', 'b', 'c'].map((name) => `${ask(names, name, A)}`);
    assert.equal(new Set([first, second, third]).size, 3);
    assert.equal(ask(names, 'd', A), 2, 'SERVFAIL');
    now = 300_000;
    names.hold(first);
    assert.equal(names.nameOf(second), 'b');
    assert.equal(ask(names, 'd', A), third);
    assert.equal(ask(names, 'e', A), 2);
    assert.deepEqual([names.nameOf(first), names.nameOf(third)], ['a', 'd']);
    now = 600_000;
    assert.equal(ask(names, 'e', A), second);
    names.release(first);
    now = 900_000;
    assert.deepEqual(
      new Set(['x', 'y', 'z'].map((name) => ask(names, name, A))),
      new Set([first, second, third]),
    );
  });

  it('that were only asked for go first, and sooner', () => {
    let now = 0;
    const names = new FakeNames(3, () => now);
    const [first, second, third] = ['a', 'b', 'c'].map((name) => `${ask(names, name, A)}`);
    names.nameOf(first);
    now = 30_000;
    assert.equal(ask(names, 'c', A), third);
    assert.equal(ask(names, 'd', A), second);
    assert.deepEqual([names.nameOf(first), names.has('b'), names.has('D')], ['a', false, true]);
    assert.equal(ask(names, 'e', A), 2, 'SERVFAIL');
    now = 60_000;
    assert.equal(ask(names, 'e', A), third);
    assert.equal(names.nameOf(first), 'a');
  });
});
