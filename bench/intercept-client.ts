/**
 * The client of bench/intercept.ts: `intercept-client.js churn ADDRESS PORT SECONDS PARALLEL` connects, reads to the end,
 * and again, and prints how often a second. `intercept-client.js hold ADDRESS PORT COUNT` prints a line once all are open,
 * and then holds them.
 */

import { once } from 'node:events';
import { connect } from 'node:net';

const [what, host = '', port = '', amount = '', parallel = '64'] = process.argv.slice(2);
const target = { host, port: Number(port) };

async function churn(): Promise<void> {
  const end = performance.now() + Number(amount) * 1000;
  let done = 0;
  const one = async (): Promise<void> => {
    while (performance.now() < end) {
      const socket = connect(target).resume();
      await once(socket, 'close');
      done++;
    }
  };
  await Promise.all(Array.from({ length: Number(parallel) }, one));
  console.log(done / Number(amount));
}

async function hold(): Promise<void> {
  for (let left = Number(amount); left > 0; left -= 100) {
    const sockets = Array.from({ length: Math.min(100, left) }, () => connect(target));
    await Promise.all(sockets.map((socket) => once(socket, 'connect')));
  }
  console.log('open');
}

await (what === 'churn' ? churn() : hold());
