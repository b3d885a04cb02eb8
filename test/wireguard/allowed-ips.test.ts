import assert from 'node:assert/strict';
import fc from 'fast-check';
import { type Cidr, formatIp, parseCidr, parseIp } from 'tuntap-native/packet';
import { AllowedIps, type AllowedIpsMirror } from '#dist/wireguard/allowed-ips.js';

const text = ({ address, prefixLength }: Cidr) => `${formatIp(address)}/${prefixLength}`;

function table(entries: Record<string, string[]>): AllowedIps<string> {
  const allowed = new AllowedIps<string>();
  for (const [peer, prefixes] of Object.entries(entries)) {
    for (const prefix of prefixes) allowed.add(parseCidr(prefix), peer);
  }
  return allowed;
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
    for (const [address, peer] of cases) assert.equal(allowed.find(parseIp(address)), peer, address);
  });

  it('find nobody outside of all prefixes, and keep the families apart', () => {
    const allowed = table({ a: ['10.0.0.0/8', '::/0'] });
    assert.equal(allowed.find(parseIp('11.0.0.0')), undefined);
    assert.equal(table({ a: ['0.0.0.0/0'] }).find(parseIp('::')), undefined);
  });

  it('clear host bits', () => {
    const allowed = table({ a: ['10.1.2.3/9', '2001:db8:ffff::1/33'] });
    assert.deepEqual(allowed.prefixes('a').map(text), ['10.0.0.0/9', '2001:db8:8000::/33']);
  });

  it('move to the peer that gets them last', () => {
    const allowed = table({ a: ['10.0.0.0/8', '10.1.0.0/16'], b: ['10.1.2.3/16'] });
    assert.deepEqual(allowed.prefixes('a').map(text), ['10.0.0.0/8']);
    assert.deepEqual(allowed.prefixes('b').map(text), ['10.1.0.0/16']);
    assert.equal(allowed.find(parseIp('10.1.0.1')), 'b');
  });

  it('are taken only from the peer that has them', () => {
    const allowed = table({ a: ['10.0.0.0/8'], b: ['10.1.0.0/16'] });
    assert.equal(allowed.remove(parseCidr('10.1.0.0/16'), 'a'), false);
    assert.equal(allowed.remove(parseCidr('10.1.9.9/16'), 'b'), true);
    assert.equal(allowed.remove(parseCidr('10.1.0.0/16'), 'b'), false);
    assert.equal(allowed.find(parseIp('10.1.0.1')), 'a');
  });

  it('go with their peer', () => {
    const allowed = table({ a: ['10.0.0.0/8', '::/0'], b: ['10.1.0.0/16'] });
    allowed.removePeer('a');
    assert.deepEqual(allowed.prefixes('a'), []);
    assert.equal(allowed.find(parseIp('10.2.0.1')), undefined);
    assert.equal(allowed.find(parseIp('10.1.0.1')), 'b');
  });

  it('keep the order in which a peer got them', () => {
    const prefixes = ['10.0.0.0/8', '::/0', '0.0.0.0/0', '192.0.2.0/24'];
    assert.deepEqual(table({ a: prefixes }).prefixes('a').map(text), prefixes);
  });

  it('agree with a comparison of all prefixes, and so does a mirror', () => {
    // Few bits that differ, so that prefixes meet.
    const address = fc
      .tuple(
        fc.constantFrom(4, 16),
        fc.array(fc.constantFrom(0, 1, 0x80, 0xff), { minLength: 16, maxLength: 16 }),
      )
      .map(([length, bytes]) => Buffer.from(bytes.slice(0, length)));
    const prefix = fc
      .tuple(address, fc.nat(128))
      .map(([bytes, bits]) => parseCidr(`${formatIp(bytes)}/${bits % (8 * bytes.length + 1)}`));
    const change = fc.record({
      prefix,
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
          const mirrored = new Map<string, string>();
          const mirror: AllowedIpsMirror<string> = {
            set: (prefix, peer) => mirrored.set(text(prefix), peer),
            delete: (prefix) => assert.ok(mirrored.delete(text(prefix))),
          };
          const allowed = new AllowedIps<string>(mirror);
          for (const { prefix, peer, remove } of changes) {
            const key = `${prefix.family}:${bits(prefix.address).slice(0, prefix.prefixLength)}`;
            if (remove === 0) {
              allowed.removePeer(peer);
              for (const [one, owner] of model) if (owner === peer) model.delete(one);
            } else if (remove === 1) {
              assert.equal(allowed.remove(prefix, peer), model.get(key) === peer);
              if (model.get(key) === peer) model.delete(key);
            } else {
              allowed.add(prefix, peer);
              model.set(key, peer);
            }
          }
          for (const bytes of wanted) {
            const full = `${bytes.length === 4 ? 4 : 6}:${bits(bytes)}`;
            const [best] = [...model.keys()]
              .filter((key) => full.startsWith(key))
              .sort((a, b) => b.length - a.length);
            assert.equal(allowed.find(bytes), best && model.get(best));
          }
          const listed = ['a', 'b', 'c'].flatMap((peer) =>
            allowed.prefixes(peer).map((one) => [text(one), peer]),
          );
          assert.deepEqual(listed.sort(), [...mirrored].sort());
          assert.equal(listed.length, model.size);
        },
      ),
    );
  });
});
