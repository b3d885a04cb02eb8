import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { openTun, PacketBatch } from 'tuntap-native';
import { Aead, Endpoint, openUdp } from 'tuntap-native/tunnel';
import { code, inNamespace, needs } from '../support.ts';
import { detach, numberedPacket, numbersUntil, shell, slowWire, upTo } from './traffic.ts';

const PROGRAM = join(import.meta.dirname, 'forged-batches.js');
// Words of a batch's memory: src-cpp/batch/layout.h.
const CAPACITY = 0;
const COUNT = 1;
const END = 2;
const HEADER_WORDS = 8;
const OFFSET = 0;
const LENGTH = 1;
const ENTRY_WORDS = 4;

/** What a reader gets whose batch is overwritten: how many packets, or the error's code. */
function read(how: string, word: number, value: number): Promise<unknown> {
  return new Promise((resolve, reject) => {
    execFile(process.execPath, [PROGRAM, how, `${word}`, `${value}`], { timeout: 5000 }, (error, stdout) =>
      error ? reject(error) : resolve(JSON.parse(stdout)),
    );
  });
}

const SIZE = 1000;

/** Three packets of different flows, with an entry of the table or the header overwritten. */
function forged(word: number, value: number): PacketBatch {
  const batch = new PacketBatch({ capacity: 8, headroom: 16, tailroom: 16 });
  for (const number of upTo(3)) batch.push(numberedPacket(number, SIZE));
  new Uint32Array(batch.at(0).buffer, 0, 40)[word] = value;
  return batch;
}

const INVALID_HEADERS = [
  ['capacity', CAPACITY, 0],
  ['capacity', CAPACITY, 4097],
  ['capacity', CAPACITY, 2 ** 31],
  ['capacity', CAPACITY, 2 ** 32 - 1],
  ['count', COUNT, 9],
  ['count', COUNT, 2 ** 31 - 1],
  ['end', END, 0],
  ['end', END, 2 ** 32 - 1],
] as const;
const second = (field: number) => HEADER_WORDS + ENTRY_WORDS + field;
const INVALID_ENTRIES = [
  ['offset', second(OFFSET), 0],
  ['offset', second(OFFSET), 2 ** 30],
  ['offset', second(OFFSET), 2 ** 32 - 1],
  ['length', second(LENGTH), 2 ** 30],
  ['length', second(LENGTH), 2 ** 32 - 1],
] as const;

/** What writes batches: to a device that gives `numberedPacket`s one by one to a second one. */
async function withWire(
  offload: boolean | 'raw',
  body: (write: (batch: PacketBatch) => number, read: Promise<number[]>) => Promise<void>,
): Promise<void> {
  await inNamespace(async (namespace) => {
    await using from = openTun('tun0', { namespace, up: true, offload });
    await using to = openTun('tun1', { namespace, up: true, offload: false });
    await slowWire(namespace, from, to, '1gbit');
    await body((batch) => from.writeBatch(batch), numbersUntil(to, 99));
  });
}

function last(): PacketBatch {
  const batch = new PacketBatch();
  batch.push(numberedPacket(99));
  return batch;
}

async function withSockets(body: (write: (batch: PacketBatch) => number) => void): Promise<void> {
  await inNamespace(async (namespace) => {
    await shell(namespace, 'ip link set lo up');
    await using socket = openUdp({ namespace });
    const peer = new Endpoint('127.0.0.1', 9);
    body((batch) => socket.writeBatch(batch, peer));
    assert.equal(socket.writeBatch(last(), peer), 1);
  });
}

function statuses(batch: PacketBatch): number[] {
  return upTo(3).map((i) => batch.status(i));
}

describe('a batch whose memory the program overwrote', () => {
  before(function () {
    needs(this, 'ip', 'tc');
  });

  for (const how of ['batches', 'stream', 'waiting']) {
    for (const value of [0, 4097, 2 ** 32 - 1]) {
      it(`is an error of its reader, not a hang: capacity ${value} (${how})`, async () => {
        assert.equal(await read(how, CAPACITY, value), 'EINVAL');
      });
    }
  }
  for (const [name, word, value] of [
    ['count', COUNT, 256],
    ['count', COUNT, 2 ** 32 - 1],
    ['end', END, 0],
    ['end', END, 2 ** 32 - 1],
  ] as const) {
    it(`is an error of its reader, not a hang: ${name} ${value}`, async () => {
      assert.equal(await read('waiting', word, value), 'EINVAL');
    });
  }
  for (const word of [3, 7]) {
    it(`is read into all the same where word ${word}, an outcome, was overwritten`, async () => {
      assert.equal(await read('batches', word, 2 ** 32 - 1), 3000);
    });
  }

  for (const [mode, offload] of [
    ['plain', false],
    ['coalescing', true],
  ] as const) {
    it(`is refused whole by a ${mode} device if its header is invalid, and the next one is taken`, () =>
      withWire(offload, async (write, arrived) => {
        for (const [name, word, value] of INVALID_HEADERS) {
          assert.equal(
            code(() => write(forged(word, value))),
            'EINVAL',
            `${name} ${value}`,
          );
        }
        assert.equal(write(last()), 1);
        assert.deepEqual(await arrived, [99]);
      }));

    it(`loses the packets alone that lie outside when a ${mode} device writes it`, () =>
      withWire(offload, async (write, arrived) => {
        for (const [name, word, value] of INVALID_ENTRIES) {
          const batch = forged(word, value);
          assert.equal(write(batch), 2, `${name} ${value}`);
          assert.deepEqual(statuses(batch), [0, -14, 0]);
        }
        assert.equal(write(last()), 1);
        assert.deepEqual(await arrived, [...INVALID_ENTRIES.flatMap(() => [0, 2]), 99]);
      }));
  }

  it('is refused by a socket, whole or packet by packet', () =>
    withSockets((write) => {
      for (const [name, word, value] of INVALID_HEADERS) {
        assert.equal(
          code(() => write(forged(word, value))),
          'EINVAL',
          `${name} ${value}`,
        );
      }
      for (const [name, word, value] of INVALID_ENTRIES) {
        const batch = forged(word, value);
        assert.equal(write(batch), 2, `${name} ${value}`);
        assert.deepEqual(statuses(batch), [0, -14, 0]);
      }
    }));

  it('is sealed and opened only as far as it is valid', () => {
    using aead = new Aead('chacha20-poly1305', Buffer.alloc(32, 1));
    for (const [name, word, value] of INVALID_HEADERS) {
      for (const call of ['sealBatch', 'openBatch'] as const) {
        const batch = forged(word, value);
        assert.equal(
          code(() => aead[call](batch)),
          'EINVAL',
          `${call} ${name} ${value}`,
        );
      }
    }
    for (const [name, word, value] of INVALID_ENTRIES) {
      const batch = forged(word, value);
      assert.equal(aead.sealBatch(batch), 2, `${name} ${value}`);
      assert.notEqual(batch.status(1), 0);
      const opened = forged(word, value);
      assert.equal(aead.openBatch(opened), 0);
      assert.equal(opened.lengthOf(1), 0);
    }
  });

  it('is refused if the memory is gone', async () => {
    const probe = forged(CAPACITY, 8);
    if (!detach(probe.at(0).buffer)) {
      assert.equal(probe.length, 3); // from Node.js 24 on, nobody can detach it
      return;
    }
    const gone = () => {
      const batch = forged(CAPACITY, 8);
      detach(batch.at(0).buffer);
      return batch;
    };
    for (const offload of [true, false]) {
      await withWire(offload, async (write, arrived) => {
        assert.equal(
          code(() => write(gone())),
          'EFAULT',
        );
        assert.equal(write(last()), 1);
        assert.deepEqual(await arrived, [99]);
      });
    }
    await withSockets((write) =>
      assert.equal(
        code(() => write(gone())),
        'EFAULT',
      ),
    );
    using aead = new Aead('aes-256-gcm', Buffer.alloc(32, 1));
    assert.equal(
      code(() => aead.openBatch(gone())),
      'EFAULT',
    );
  });
});
