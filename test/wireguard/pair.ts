/** Two devices of the core on a virtual network. */

import assert from 'node:assert/strict';
import type { Peer } from '#dist/wireguard/peer.js';
import { type DeviceOptions, TestDevice, TestNetwork, type TestTransport } from './simulation.ts';

export interface Pair {
  readonly network: TestNetwork;
  readonly a: TestDevice;
  readonly b: TestDevice;
  /** How each one sees the other. */
  readonly toB: Peer<TestTransport>;
  readonly toA: Peer<TestTransport>;
}

/** Two devices that are each other's peers; only A knows where the other one is. */
export function pair(optionsOfA: DeviceOptions = {}, optionsOfB: DeviceOptions = {}): Pair {
  const network = new TestNetwork();
  const a = new TestDevice(network, 1, optionsOfA);
  const b = new TestDevice(network, 2, optionsOfB);
  return { network, a, b, toB: a.add(b), toA: b.add(a, false) };
}

/** Lets A reach B and B answer, so that both have keys and each has got something. */
export function connect(state: Pair): Pair {
  const { network, a, b, toA, toB } = state;
  a.send(toB, 'hello');
  network.run(100);
  b.send(toA, 'welcome');
  network.run(100);
  assert.deepEqual([b.received.at(-1), a.received.at(-1)], ['hello', 'welcome']);
  return state;
}
