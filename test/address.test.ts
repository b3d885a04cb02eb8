import assert from 'node:assert/strict';
import {
  formatIp,
  formatIpv4,
  formatIpv6,
  formatMac,
  parseCidr,
  parseIp,
  parseIpv4,
  parseIpv6,
  parseMac,
} from 'tuntap-native/packet';
import { seededRandom } from './packet/random.ts';

const invalidValue = { name: 'TypeError', code: 'ERR_INVALID_ARG_VALUE' };
const invalidType = { name: 'TypeError', code: 'ERR_INVALID_ARG_TYPE' };
const outOfRange = { name: 'RangeError', code: 'ERR_OUT_OF_RANGE' };

const ipv4 = [
  ['0.0.0.0', '00000000'],
  ['192.0.2.1', 'c0000201'],
  ['255.255.255.255', 'ffffffff'],
];

// [any text, bytes, canonical text]; the first rows are the forms that RFC 5952 sections 1, 2, 4 and 5 discuss.
const ipv6 = [
  ['2001:db8:0:0:1:0:0:1', '20010db8000000000001000000000001', '2001:db8::1:0:0:1'],
  ['2001:0db8:0:0:1:0:0:1', '20010db8000000000001000000000001', '2001:db8::1:0:0:1'],
  ['2001:db8::0:1:0:0:1', '20010db8000000000001000000000001', '2001:db8::1:0:0:1'],
  ['2001:DB8:0:0:1::1', '20010db8000000000001000000000001', '2001:db8::1:0:0:1'],
  ['2001:db8:0000:0:1::1', '20010db8000000000001000000000001', '2001:db8::1:0:0:1'],
  [
    '2001:db8:aaaa:bbbb:cccc:dddd:eeee:001',
    '20010db8aaaabbbbccccddddeeee0001',
    '2001:db8:aaaa:bbbb:cccc:dddd:eeee:1',
  ],
  ['2001:db8:aaaa:bbbb:cccc:dddd::1', '20010db8aaaabbbbccccdddd00000001', '2001:db8:aaaa:bbbb:cccc:dddd:0:1'],
  ['2001:db8:0:0:0::1', '20010db8000000000000000000000001', '2001:db8::1'],
  ['2001:db8:0:1:1:1:1:1', '20010db8000000010001000100010001', '2001:db8:0:1:1:1:1:1'],
  ['2001:0:0:1:0:0:0:1', '20010000000000010000000000000001', '2001:0:0:1::1'],
  [
    '2001:db8:AAAA:BBBB:CCCC:DDDD:EEEE:AAAA',
    '20010db8aaaabbbbccccddddeeeeaaaa',
    '2001:db8:aaaa:bbbb:cccc:dddd:eeee:aaaa',
  ],
  ['::ffff:192.0.2.1', '00000000000000000000ffffc0000201', '::ffff:192.0.2.1'],
  ['::ffff:c000:201', '00000000000000000000ffffc0000201', '::ffff:192.0.2.1'],
  ['0:0:0:0:0:ffff:192.0.2.1', '00000000000000000000ffffc0000201', '::ffff:192.0.2.1'],
  ['64:ff9b::192.0.2.33', '0064ff9b0000000000000000c0000221', '64:ff9b::c000:221'],
  ['::', '00000000000000000000000000000000', '::'],
  ['::1', '00000000000000000000000000000001', '::1'],
  ['1::', '00010000000000000000000000000000', '1::'],
  ['1:2:3:4:5:6:7::', '00010002000300040005000600070000', '1:2:3:4:5:6:7:0'],
  ['::2:3:4:5:6:7:8', '00000002000300040005000600070008', '0:2:3:4:5:6:7:8'],
  ['1:2:3:4:5:6:192.0.2.1', '000100020003000400050006c0000201', '1:2:3:4:5:6:c000:201'],
  ['fe80::ff:fe00:a', 'fe80000000000000000000fffe00000a', 'fe80::ff:fe00:a'],
];

describe('addresses', () => {
  for (const [text, hex] of ipv4) {
    it(`${text} is ${hex}`, () => {
      assert.equal(parseIpv4(text).toString('hex'), hex);
      assert.equal(parseIp(text).toString('hex'), hex);
      assert.equal(formatIpv4(Buffer.from(hex, 'hex')), text);
      assert.equal(formatIp(Buffer.from(hex, 'hex')), text);
    });
  }

  for (const [text, hex, canonical] of ipv6) {
    it(`${text} is ${hex}, in canonical form ${canonical}`, () => {
      assert.equal(parseIpv6(text).toString('hex'), hex);
      assert.equal(parseIp(text).toString('hex'), hex);
      assert.equal(formatIpv6(Buffer.from(hex, 'hex')), canonical);
      assert.equal(formatIp(Buffer.from(hex, 'hex')), canonical);
    });
  }

  it('reads back every IPv6 address that it writes', () => {
    const random = seededRandom(5952);
    for (let round = 0; round < 2000; round++) {
      const bytes = Buffer.from(Array.from({ length: 16 }, () => (random(3) === 0 ? random(256) : 0)));
      assert.deepEqual(parseIpv6(formatIpv6(bytes)), bytes);
    }
  });

  it('formats an address in the middle of a packet', () => {
    const bytes = Buffer.from('ffc0000201ff', 'hex');
    assert.equal(formatIpv4(bytes, 1), '192.0.2.1');
    assert.equal(formatMac(Buffer.from('ff02005e100001', 'hex'), 1), '02:00:5e:10:00:01');
    assert.equal(formatIpv6(Buffer.concat([bytes, Buffer.alloc(16)]), 6), '::');
  });

  it('refuses to format what is not all there', () => {
    assert.throws(() => formatIpv4(Buffer.alloc(4), 1), outOfRange);
    assert.throws(() => formatIpv4(Buffer.alloc(8), -1), outOfRange);
    assert.throws(() => formatIpv4(Buffer.alloc(8), 0.5), outOfRange);
    assert.throws(() => formatIpv6(Buffer.alloc(15)), outOfRange);
    assert.throws(() => formatMac(Buffer.alloc(5)), outOfRange);
    assert.throws(() => formatIp(Buffer.alloc(5)), invalidValue);
  });

  it('takes Ethernet addresses in either case and gives lower case', () => {
    assert.equal(formatMac(parseMac('02:00:5E:aB:0c:Ff')), '02:00:5e:ab:0c:ff');
  });

  const malformed: [string, (text: string) => unknown, string[]][] = [
    [
      'IPv4',
      parseIpv4,
      ['', '1.2.3', '1.2.3.4.5', '256.0.0.1', '01.2.3.4', ' 192.0.2.1', '192.0.2.1 ', '::1'],
    ],
    [
      'IPv6',
      parseIpv6,
      ['', ':', ':::', '1::2::3', '1:2:3:4:5:6:7', '12345::', 'fe80::1%eth0', ' ::1', '192.0.2.1'],
    ],
    ['IP', parseIp, ['', 'localhost', 'fe80::1%1', '192.0.2.1/24', '\n::1']],
    [
      'Ethernet',
      parseMac,
      [
        '',
        '02:00:5e:10:00',
        '02-00-5e-10-00-01',
        '2:0:5e:10:0:1',
        '02:00:5e:10:00:0g',
        ' 02:00:5e:10:00:01',
        '02:00:5e:10:00:01\n',
      ],
    ],
  ];
  for (const [name, parse, texts] of malformed) {
    for (const text of texts) {
      it(`${JSON.stringify(text)} is no ${name} address`, () => {
        assert.throws(() => parse(text), invalidValue);
      });
    }
    it(`a number is no ${name} address`, () => {
      assert.throws(() => parse(1 as unknown as string), invalidType);
    });
  }

  it('says what it got and what it wants', () => {
    assert.throws(() => parseIpv4('192.0.2.256'), { message: /must be an IPv4 address.*'192\.0\.2\.256'/ });
  });

  const cidrs: [string, 4 | 6, string, number][] = [
    ['10.0.0.1/24', 4, '10.0.0.1', 24],
    ['10.0.0.1', 4, '10.0.0.1', 32],
    ['0.0.0.0/0', 4, '0.0.0.0', 0],
    ['10.0.0.1/32', 4, '10.0.0.1', 32],
    ['2001:db8::1/64', 6, '2001:db8::1', 64],
    ['2001:db8::1', 6, '2001:db8::1', 128],
    ['::/0', 6, '::', 0],
    ['::1/128', 6, '::1', 128],
  ];
  for (const [text, family, address, prefixLength] of cidrs) {
    it(`${text} has prefix length ${prefixLength}`, () => {
      assert.deepEqual(parseCidr(text), { family, address: parseIp(address), prefixLength });
    });
  }

  for (const text of [
    '',
    '/',
    '/24',
    '10.0.0.1/',
    '10.0.0.1/33',
    '10.0.0.1/-1',
    '10.0.0.1/+1',
    '10.0.0.1/024',
    '10.0.0.1/00',
    '10.0.0.1/24/24',
    '10.0.0.1/24 ',
    '10.0.0.1/ 24',
    '10.0.0.1 /24',
    ' 10.0.0.1/24',
    '10.0.0.1/2e1',
    '10.0.0.1/0x18',
    '10.0.0/24',
    '10.0.0.1/24\n',
    '::1/129',
    'fe80::1%eth0/64',
  ]) {
    it(`${JSON.stringify(text)} is no address with a prefix length`, () => {
      assert.throws(() => parseCidr(text), invalidValue);
    });
  }

  it('a number is no address with a prefix length', () => {
    assert.throws(() => parseCidr(24 as unknown as string), invalidType);
  });
});
