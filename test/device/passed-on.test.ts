/** Packets that a `'data'` listener writes to another device, which takes them where they lie if it can. */

import assert from 'node:assert/strict';
import { setTimeout as delay } from 'node:timers/promises';
import { NetworkNamespace, openTun, type TunDevice } from 'tuntap-native';
import { needs } from '../support.ts';
import { silence, wire } from './super-packets.ts';
import { detach, numberedPacket, numberOf, numbersUntil, upTo } from './traffic.ts';

const COUNT = 300;
const LAST = 999_999;

/** What `destinations` devices send if `listener` gets packets 0 to COUNT - 1, and later the last one. */
async function passedOn(
  destinations: number,
  listener: (packet: Buffer, to: TunDevice[]) => void,
): Promise<number[][]> {
  const namespace = await NetworkNamespace.create();
  try {
    await silence(namespace);
    const open = (name: string) => openTun(name, { namespace, up: true, txQueueLength: 5000 });
    const [origin, source] = [open('origin'), open('source')];
    await wire(namespace, origin, source);
    const to = upTo(destinations).map((i) => open(`to${i}`));
    const ends = upTo(destinations).map((i) => open(`end${i}`));
    await Promise.all(to.map((device, i) => wire(namespace, device, ends[i])));
    const arrived = Promise.all(ends.map((end) => numbersUntil(end, LAST)));
    source.on('data', (packet: Buffer) => listener(packet, to));
    for (const number of upTo(COUNT)) origin.write(numberedPacket(number, 200));
    while (source.counters.packetsRead < COUNT) await delay(1);
    origin.write(numberedPacket(LAST, 200));
    const numbers = (await arrived).map((all) => all.slice(0, -1));
    await Promise.all([origin, source, ...to, ...ends].map((device) => device.close()));
    return numbers;
  } finally {
    await namespace.close();
  }
}

describe("packets that a 'data' listener writes to other devices", () => {
  before(function () {
    needs(this, 'ip', 'tc');
  });

  it('arrive in order, at each of them', async () => {
    const arrived = await passedOn(2, (packet, to) => {
      for (const device of to) device.write(packet);
    });
    assert.deepEqual(arrived, [upTo(COUNT), upTo(COUNT)]);
  });

  it('arrive without those that the listener left out, the last of a batch among them', async () => {
    const [arrived] = await passedOn(1, (packet, [to]) => {
      const number = numberOf(packet) as number;
      if (number === LAST || (number % 7 !== 3 && number < COUNT - 20)) to.write(packet);
    });
    assert.deepEqual(
      arrived,
      upTo(COUNT - 20).filter((number) => number % 7 !== 3),
    );
  });

  it('arrive among packets of the program, with a callback and without', async () => {
    const errors: unknown[] = [];
    const [arrived] = await passedOn(1, (packet, [to]) => {
      const number = numberOf(packet) as number;
      to.write(packet);
      if (number % 10 === 4) to.write(numberedPacket(1000 + number, 200));
      if (number % 10 === 8) to.write(numberedPacket(2000 + number, 200), (error) => errors.push(error));
    });
    const expected = upTo(COUNT).flatMap((number) => [
      number,
      ...(number % 10 === 4 ? [1000 + number] : []),
      ...(number % 10 === 8 ? [2000 + number] : []),
    ]);
    assert.deepEqual(arrived, expected);
    assert.equal(
      errors.some((error) => error),
      false,
    );
  });

  it('arrive as often as they are written, changed ones as well', async () => {
    const [arrived] = await passedOn(1, (packet, [to]) => {
      to.write(packet);
      if (numberOf(packet) === LAST) return;
      to.write(packet);
      const changed = Buffer.from(packet);
      changed.writeUInt32BE(5000, 20);
      to.write(changed);
    });
    assert.deepEqual(
      arrived,
      upTo(COUNT).flatMap((number) => [number, number, 5000]),
    );
  });

  it('are lost with the memory that a listener detaches, and later ones arrive', async () => {
    let detached = false;
    const [arrived] = await passedOn(1, (packet, [to]) => {
      to.write(packet);
      detached ||= numberOf(packet) === 5 && detach(packet.buffer);
    });
    // Node.js 24 and later protect the memory.
    if (detached) assert.ok(!arrived.includes(5), arrived.join());
    else assert.deepEqual(arrived, upTo(COUNT));
  });
});
