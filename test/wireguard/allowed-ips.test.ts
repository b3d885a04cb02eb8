import assert from 'node:assert/strict';
import fc from 'fast-check';
import { formatIp } from 'tuntap-native/packet';
import { AllowedIps } from '#dist/wireguard/allowed-ips.js';
import { type Prefix, parseHost } from '#dist/wireguard/prefix.js';

interface Named {
  readonly name: string;
  readonly number: number;
}
const PEERS: Readonly<Record<string, Named>> = Object.fromEntries(
  ['a', 'b', 'c'].map((name, number) => [name, { name, number }]),
);
const { a, b } = PEERS;

/** With host bits, which are to be cleared. */
function prefix(text: string): Prefix {
  const parsed = parseHost(text);
  assert.ok(parsed, text);
  return parsed;
}

function table(entries: Record<string, string[]>): AllowedIps<Named> {
  const allowed = new AllowedIps<Named>();
  for (const [name, prefixes] of Object.entries(entries)) {
    for (const text of prefixes) allowed.add(prefix(text), PEERS[name]);
  }
  return allowed;
}

/** The name of the peer that an address belongs to. */
function find(allowed: AllowedIps<Named>, address: string): string | undefined {
  const number = allowed.table.lookup(address);
  return Object.values(PEERS).find((peer) => peer.number === number)?.name;
}

describe('allowed IPs', () => {
  it('find the peer with the longest prefix', () => {
    const allowed = table({
      a: ['0.0.0.0/0', '10.0.0.0/8', '::/0'],
      b: ['10.1.0.0/16', '10.1.1.1', '2001:db8::/32'],
      c: ['10.1.1.0/24', '2001:db8::1'],
    });
    const cases: [string, string][] = [
      ['192.0.2.1', 'a'],
      ['10.2.0.1', 'a'],
      ['10.1.2.1', 'b'],
      ['10.1.1.2', 'c'],
      ['10.1.1.1', 'b'],
      ['2001:db8::2', 'b'],
      ['2001:db8::1', 'c'],
      ['2001:db9::1', 'a'],
    ];
    for (const [address, peer] of cases) assert.equal(find(allowed, address), peer, address);
  });

  it('find nobody outside of all prefixes, and keep the families apart', () => {
    const allowed = table({ a: ['10.0.0.0/8', '::/0'] });
    assert.equal(find(allowed, '11.0.0.0'), undefined);
    assert.equal(find(table({ a: ['0.0.0.0/0'] }), '::'), undefined);
  });

  it('clear host bits', () => {
    const allowed = table({ a: ['10.1.2.3/9', '2001:db8:ffff::1/33'] });
    assert.deepEqual(allowed.prefixes(a), ['10.0.0.0/9', '2001:db8:8000::/33']);
  });

  it('move to the peer that gets them last', () => {
    const allowed = table({ a: ['10.0.0.0/8', '10.1.0.0/16'], b: ['10.1.2.3/16'] });
    assert.deepEqual(allowed.prefixes(a), ['10.0.0.0/8']);
    assert.deepEqual(allowed.prefixes(b), ['10.1.0.0/16']);
    assert.equal(find(allowed, '10.1.0.1'), 'b');
  });

  it('are taken only from the peer that has them', () => {
    const allowed = table({ a: ['10.0.0.0/8'], b: ['10.1.0.0/16'] });
    assert.equal(allowed.remove(prefix('10.1.0.0/16'), a), false);
    assert.equal(allowed.remove(prefix('10.1.9.9/16'), b), true);
    assert.equal(allowed.remove(prefix('10.1.0.0/16'), b), false);
    assert.equal(find(allowed, '10.1.0.1'), 'a');
  });

  it('go with their peer', () => {
    const allowed = table({ a: ['10.0.0.0/8', '::/0'], b: ['10.1.0.0/16'] });
    allowed.removePeer(a);
    assert.deepEqual(allowed.prefixes(a), []);
    assert.equal(find(allowed, '10.2.0.1'), undefined);
    assert.equal(find(allowed, '10.1.0.1'), 'b');
  });

  it('keep the order in which a peer got them', () => {
    const prefixes = ['10.0.0.0/8', '::/0', '0.0.0.0/0', '192.0.2.0/24'];
    assert.deepEqual(table({ a: prefixes }).prefixes(a), prefixes);
  });

  it('agree with a comparison of all prefixes, which the table for packets does as well', () => {
    // Few bits that differ, so that prefixes meet.
    const address = fc
      .tuple(
        fc.constantFrom(4, 16),
        fc.array(fc.constantFrom(0, 1, 0x80, 0xff), { minLength: 16, maxLength: 16 }),
      )
      .map(([length, bytes]) => Buffer.from(bytes.slice(0, length)));
    const network = fc
      .tuple(address, fc.nat(128))
      .map(([bytes, bits]) => prefix(`${formatIp(bytes)}/${bits % (8 * bytes.length + 1)}`));
    const change = fc.record({
      network,
      peer: fc.constantFrom('a', 'b', 'c'),
      remove: fc.integer({ min: 0, max: 5 }),
    });
    const bits = (bytes: Uint8Array) => [...bytes].map((byte) => byte.toString(2).padStart(8, '0')).join('');
    fc.assert(
      fc.property(
        fc.array(change, { maxLength: 40 }),
        fc.array(address, { maxLength: 20 }),
        (changes, wanted) => {
          const model = new Map<string, string>();
          const allowed = new AllowedIps<Named>();
          for (const { network, peer: name, remove } of changes) {
            const peer = PEERS[name];
            const key = `${network.family}:${bits(network.bytes).slice(0, network.length)}`;
            if (remove === 0) {
              allowed.removePeer(peer);
              for (const [one, owner] of model) if (owner === name) model.delete(one);
            } else if (remove === 1) {
              assert.equal(allowed.remove(network, peer), model.get(key) === name);
              if (model.get(key) === name) model.delete(key);
            } else {
              allowed.add(network, peer);
              model.set(key, name);
            }
          }
          for (const bytes of wanted) {
            const full = `${bytes.length === 4 ? 4 : 6}:${bits(bytes)}`;
            const [best] = [...model.keys()]
              .filter((key) => full.startsWith(key))
              .sort((a, b) => b.length - a.length);
            assert.equal(find(allowed, formatIp(bytes)), best && model.get(best));
          }
          const listed = Object.values(PEERS).flatMap((peer) => allowed.prefixes(peer));
          assert.deepEqual([listed.length, allowed.table.size], [model.size, model.size]);
        },
      ),
    );
  });
});
