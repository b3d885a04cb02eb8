import assert from 'node:assert/strict';
import { EthernetFrame, EtherType, ethernetFrame, type VlanTag } from 'tuntap-native/packet';
import { MacTable } from '../../examples/switch/mac-table.ts';
import { forward, type Port } from '../../examples/switch/vlan-switch.ts';

const A = '02:00:5e:00:53:0a';
const B = '02:00:5e:00:53:0b';
const BROADCAST = 'ff:ff:ff:ff:ff:ff';
const number = (mac: string): number => Number(`0x${mac.replaceAll(':', '')}`);

describe('the forwarding of the switch example', () => {
  let sent: { port: string; frame: Buffer; tag: number }[];
  let table: MacTable<Port>;
  const port = (name: string, vlan?: number): Port => ({
    name,
    vlan,
    send: (frame, tag) => sent.push({ port: name, frame: Buffer.from(frame), tag }),
  });
  const red1 = port('red1', 10);
  const red2 = port('red2', 10);
  const blue = port('blue', 20);
  const trunk = port('trunk');
  const ports = new Set([red1, red2, blue, trunk]);
  beforeEach(() => {
    sent = [];
    table = new MacTable();
  });

  const frame = (destination: string, source: string, vlan?: VlanTag): Buffer =>
    ethernetFrame({ destination, source, etherType: EtherType.IPV4, vlan, payload: Buffer.alloc(46, 'x') });
  /** The ports that a frame is sent to. */
  function to(ingress: Port, bytes: Buffer): string[] {
    sent = [];
    forward(bytes, ingress, ports, table);
    return sent.map(({ port: name }) => name);
  }

  it('floods what is for all, or for a station that it does not know, within the VLAN and never back', () => {
    for (const destination of [BROADCAST, '01:00:5e:00:00:01', '33:33:00:00:00:01', B]) {
      assert.deepEqual(to(red1, frame(destination, A)), ['red2', 'trunk']);
      assert.deepEqual(to(blue, frame(destination, A)), ['trunk']);
      assert.deepEqual(to(trunk, frame(destination, '02:00:5e:00:53:0c', { id: 10 })), ['red1', 'red2']);
      assert.deepEqual(to(trunk, frame(destination, '02:00:5e:00:53:0c', { id: 30 })), []);
    }
  });

  it('sends to the port where a station was heard last, and nowhere if it is the one that the frame came by', () => {
    to(red2, frame(BROADCAST, B));
    assert.deepEqual(to(red1, frame(B, A)), ['red2']);
    assert.deepEqual(to(red2, frame(B, A)), []);
    to(trunk, frame(BROADCAST, B, { id: 10 }));
    assert.deepEqual(to(red1, frame(B, A)), ['trunk']);
  });

  it('floods again what is for a station on a port that is gone', () => {
    const gone = port('gone', 10);
    to(gone, frame(BROADCAST, B));
    assert.deepEqual(to(red1, frame(B, A)), ['red2', 'trunk']);
  });

  it('learns for each VLAN apart', () => {
    to(red1, frame(BROADCAST, B));
    assert.deepEqual(to(blue, frame(B, A)), ['trunk']);
    assert.deepEqual(to(trunk, frame(B, A, { id: 10 })), ['red1']);
  });

  it('takes tags off from the trunk, and gives the trunk a tag with the priority that a frame came with', () => {
    to(trunk, frame(BROADCAST, A, { id: 10, priority: 5 }));
    assert.deepEqual(sent[0].frame, frame(BROADCAST, A));
    to(red1, frame(BROADCAST, A, { id: 0, priority: 6 }));
    const [, toTrunk] = sent;
    assert.deepEqual(toTrunk, { port: 'trunk', frame: frame(BROADCAST, A), tag: (6 << 13) | 10 });
    const { etherType, vlanTags } = new EthernetFrame(toTrunk.frame);
    assert.deepEqual([etherType, vlanTags], [EtherType.IPV4, []]);
  });

  it('takes no VLAN from an access port, and nothing untagged or of the reserved VLANs from the trunk', () => {
    assert.deepEqual(to(red1, frame(BROADCAST, A, { id: 20 })), []);
    assert.deepEqual(to(red1, frame(BROADCAST, A, { id: 10 })), []);
    assert.deepEqual(to(trunk, frame(BROADCAST, A)), []);
    for (const id of [0, 4095]) assert.deepEqual(to(trunk, frame(BROADCAST, A, { id })), []);
    assert.equal([...table].length, 0);
  });

  it('never forwards the reserved group addresses 01:80:c2:00:00:00 to 0f', () => {
    for (let last = 0; last < 32; last++) {
      const group = `01:80:c2:00:00:${last.toString(16).padStart(2, '0')}`;
      assert.deepEqual(to(red1, frame(group, A)), last < 16 ? [] : ['red2', 'trunk'], group);
    }
  });

  it('drops what no station can have sent, and frames that are cut short', () => {
    for (const source of [BROADCAST, '01:00:5e:00:00:01', '00:00:00:00:00:00']) {
      assert.deepEqual(to(red1, frame(BROADCAST, source)), [], source);
    }
    const tagged = frame(BROADCAST, A, { id: 10 });
    for (let length = 0; length < 18; length++) {
      assert.deepEqual(to(trunk, Buffer.from(tagged.subarray(0, length))), []);
      assert.deepEqual(to(red1, Buffer.from(tagged.subarray(0, length))), []);
    }
    assert.equal([...table].length, 0);
  });
});

describe("the switch example's table of stations", () => {
  it('forgets a station that has been silent for the ageing time, and not one that speaks', () => {
    let now = 0;
    const table = new MacTable<string>({ ageingMs: 1000, clock: () => now });
    table.learn(10, number(A), 'a');
    table.learn(10, number(B), 'b');
    now = 999;
    table.learn(10, number(A), 'a');
    assert.equal(table.lookup(10, number(B)), 'b');
    now = 1000;
    assert.equal(table.lookup(10, number(B)), undefined);
    assert.equal(table.lookup(10, number(A)), 'a');
    table.sweep();
    assert.deepEqual([...table], [{ vlan: 10, mac: number(A), port: 'a', ageMs: 1 }]);
  });

  it('holds as many stations as it has room for, and takes new ones again once others have aged', () => {
    let now = 0;
    const table = new MacTable<string>({ ageingMs: 1000, capacity: 2, clock: () => now });
    for (const mac of [1, 2, 3]) table.learn(mac, mac, `${mac}`);
    assert.equal(table.lookup(3, 3), undefined);
    table.learn(1, 1, 'elsewhere');
    assert.equal(table.lookup(1, 1), 'elsewhere');
    now = 1000;
    table.sweep();
    table.learn(3, 3, '3');
    assert.equal(table.lookup(3, 3), '3');
  });
});
