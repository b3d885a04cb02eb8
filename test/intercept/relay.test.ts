/** The thread that relays between two sockets. */

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import type { Socket } from 'node:net';
import { setTimeout } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { Relay, takeSocket } from '#dist/intercept/relay.js';
import { fdsAtMost, moduleArguments, openFds } from '../support.ts';
import { Loopback, pipeEnds, receiveAll, relayThreads, sendRandom } from './relay-support.ts';

const ECANCELED = -125;
const ECONNRESET = -104;
const MEGABYTE = 1 << 20;

describe('a relay of two sockets', () => {
  it('passes all bytes on, both ways at once, and the end of one direction before the other', async () => {
    await using loopback = new Loopback();
    const [a, b, relay] = await loopback.relayed();
    const received = [receiveAll(a), receiveAll(b)];
    const fromA = await sendRandom(a, 20 * MEGABYTE);
    assert.equal(await received[1], fromA);
    const fromB = await sendRandom(b, 30 * MEGABYTE + 1);
    assert.equal(await received[0], fromB);
    assert.deepEqual(await relay.ended, { error: 0, reply: 0, bytes: [20 * MEGABYTE, 30 * MEGABYTE + 1] });
    assert.equal(relay.bytes(1), 30 * MEGABYTE + 1);
  });

  it('sends first what JavaScript had received', async () => {
    await using loopback = new Loopback();
    const [a, first] = await loopback.connect();
    const [b, second] = await loopback.connect();
    a.write('one ');
    await once(first, 'readable');
    second.write('zero ');
    const relay = Relay.between(await takeSocket(first), await takeSocket(second));
    a.end('two');
    b.end();
    const chunks = await b.toArray();
    assert.equal(Buffer.concat(chunks).toString(), 'zero one two');
    assert.deepEqual((await relay.ended).bytes, [7, 0]);
  });

  it('counts while it runs', async () => {
    await using loopback = new Loopback();
    const [a, b, relay] = await loopback.relayed();
    a.write('12345');
    await once(b, 'data');
    assert.deepEqual([relay.bytes(0), relay.bytes(1)], [5, 0]);
    relay.abort();
    await relay.ended;
    assert.deepEqual([relay.bytes(0), relay.bytes(1)], [5, 0]);
  });

  for (const side of ['first', 'second'] as const) {
    it(`passes a reset on: the ${side}'s`, async () => {
      await using loopback = new Loopback();
      const [a, b, relay] = await loopback.relayed();
      const [resets, other] = side === 'first' ? [a, b] : [b, a];
      other.resume();
      resets.write('x');
      await once(other, 'data');
      const error = once(other, 'error');
      resets.resetAndDestroy();
      assert.equal(((await error)[0] as NodeJS.ErrnoException).code, 'ECONNRESET');
      assert.equal((await relay.ended).error, ECONNRESET);
    });
  }

  it('sees a reset while the other side does not read', async () => {
    await using loopback = new Loopback();
    const [a, b, relay] = await loopback.relayed();
    b.pause();
    await fill(a);
    a.resetAndDestroy();
    assert.equal((await relay.ended).error, ECONNRESET);
  });

  it('stops a sender whose receiver does not read, without turning in circles', async () => {
    await using loopback = new Loopback();
    const [a, b, relay] = await loopback.relayed();
    b.pause();
    const written = await fill(a);
    const [before] = relayThreads();
    const bytes = relay.bytes(0);
    await setTimeout(300);
    assert.equal(relay.bytes(0), bytes);
    assert.ok(relayThreads()[0] - before <= 2, 'the thread works though nothing can move');
    const received = receiveAll(b);
    a.end();
    b.end();
    await received;
    assert.equal((await relay.ended).bytes[0], written);
  });

  it('resets both when it is aborted', async () => {
    await using loopback = new Loopback();
    const [a, b, relay] = await loopback.relayed();
    const errors = [a, b].map((socket) => once(socket.resume(), 'error'));
    relay.abort();
    for (const [error] of await Promise.all(errors)) assert.equal(error.code, 'ECONNRESET');
    assert.equal((await relay.ended).error, ECANCELED);
    relay.abort(); // of what has ended: nothing
  });

  it('has pipes only for what is on its way', async () => {
    await using loopback = new Loopback();
    const relays = [];
    for (let i = 0; i < 200; i++) relays.push(await loopback.relayed());
    for (const [a, b] of relays) {
      a.write('there');
      await once(b, 'data');
      b.write('back');
      await once(a, 'data');
    }
    const ends = pipeEnds();
    assert.ok(ends < 100, `${ends} ends of pipes for 200 idle relays`);
    for (const [a, b] of relays) {
      a.end();
      b.end();
    }
    for (const [, , relay] of relays) assert.equal((await relay.ended).error, 0);
  });

  it('goes on where the process may open no more files', () => {
    const program = `
      import { closeSync, openSync } from 'node:fs';
      import { Loopback, receiveAll, sendRandom } from '${new URL('./relay-support.js', import.meta.url)}';
      const loopback = new Loopback();
      const [a, b, relay] = await loopback.relayed();
      const opened = [];
      try { for (;;) opened.push(openSync('/dev/null')); } catch {}
      const received = receiveAll(b);
      const sent = await sendRandom(a, 3000000);
      b.end();
      const { error, bytes } = await relay.ended;
      console.log(opened.length > 0, await received === sent, error, bytes[0]);
      opened.forEach(closeSync);
      await loopback[Symbol.asyncDispose]();`;
    const command = ['-c', 'ulimit -n 100; exec "$@"', 'sh', process.execPath, ...moduleArguments(program)];
    const { stdout, stderr } = spawnSync('sh', command, { encoding: 'utf8', timeout: 20_000 });
    assert.equal(stdout, 'true true 0 3000000\n', stderr);
  });

  it('leaves no fd, however it ends', async () => {
    await using loopback = new Loopback();
    const round = async (): Promise<void> => {
      const relays: [Socket, Socket, Relay][] = [];
      for (let i = 0; i < 40; i++) relays.push(await loopback.relayed());
      relays.forEach(([a, b, relay], i) => {
        a.write('x'.repeat(MEGABYTE / 8));
        if (i % 3 === 0) a.resetAndDestroy();
        else if (i % 3 === 1) relay.abort();
        else b.resume();
        if (i % 3 === 2) a.end();
        if (i % 3 === 2) b.end();
      });
      await Promise.all(relays.map(([, , relay]) => relay.ended));
      for (const [a, b] of relays) {
        for (const socket of [a, b]) {
          if (!socket.closed) await new Promise((resolve) => socket.once('close', resolve).destroy());
        }
      }
    };
    for (let i = 0; i < 3; i++) await round();
    const fds = openFds();
    for (let i = 0; i < 3; i++) await round();
    await fdsAtMost(fds + 2);
  });

  it('ends with its worker: connections are reset, no thread and no fd is left', async () => {
    const program = `
      import { parentPort, workerData } from 'node:worker_threads';
      import { Loopback } from '${new URL('./relay-support.js', import.meta.url)}';
      const loopback = new Loopback();
      const [a, b] = await loopback.relayed();
      a.on('data', () => {});
      b.pause();
      const flood = () => { while (a.write(Buffer.alloc(65536))); a.once('drain', flood); };
      flood();
      parentPort.postMessage('floods');`;
    const threads = relayThreads().length;
    let fds = 0;
    for (let i = 0; i < 4; i++) {
      const worker = new Worker(new URL(`data:text/javascript,${encodeURIComponent(program)}`));
      await once(worker, 'message');
      assert.equal(relayThreads().length, threads + 1);
      await worker.terminate();
      while (relayThreads().length > threads) await setTimeout(10); // in Deno, terminate() resolves before
      if (i === 0) fds = openFds();
    }
    await fdsAtMost(fds);
  });
});

/** Writes until nothing is taken any more. @returns how many bytes the socket was given */
async function fill(socket: Socket): Promise<number> {
  let written = 0;
  let left = 0;
  do {
    left = socket.writableLength;
    while (socket.writableLength < MEGABYTE) {
      socket.write(Buffer.alloc(MEGABYTE / 16));
      written += MEGABYTE / 16;
    }
    await setTimeout(50);
  } while (socket.writableLength !== left || socket.writableLength < MEGABYTE);
  return written;
}
