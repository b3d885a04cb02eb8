/** Errors of misuse name the argument as the caller wrote it. */

import assert from 'node:assert/strict';
import { openMacvtap, openTap, openTun } from 'tuntap-native';
import { openUdp } from 'tuntap-native/tunnel';
import { inNamespace, literally } from './support.ts';

const WRONG = 'no name';

describe('errors of misuse', () => {
  it("name the argument that has a link's wrong name or MTU", () =>
    inNamespace(async (namespace) => {
      const lo = await namespace.link('lo');
      const peer = { name: 'veth1' };
      const calls: Readonly<Record<string, (() => unknown)[]>> = {
        name: [() => openTun(WRONG), () => openTap(WRONG), () => openMacvtap(WRONG), () => lo.rename(WRONG)],
        'options.name': [() => lo.moveTo(namespace, { name: WRONG })],
        'options.parent': [() => openMacvtap('macvtap0', { parent: WRONG })],
        'options.device': [
          () => openUdp({ device: WRONG }),
          () => namespace.connect({ host: '192.0.2.1', port: 80, device: WRONG }),
          () => namespace.createUdpSocket({ device: WRONG }),
        ],
        'options.mtu': [() => openTun('tun0', { mtu: 67 })],
        'link.name': [() => namespace.addLink({ kind: 'dummy', name: WRONG })],
        'link.mtu': [() => namespace.addLink({ kind: 'dummy', name: 'dummy0', mtu: 67 })],
        'link.up': [() => namespace.addLink({ kind: 'dummy', name: 'dummy0', up: 1 as never })],
        'peer.name': [() => namespace.addLink({ kind: 'veth', name: 'veth0', peer: { name: WRONG } })],
        'peer.index': [() => namespace.addLink({ kind: 'veth', name: 'veth0', peer: { ...peer, index: 0 } })],
        'change.mtu': [() => lo.set({ mtu: 67 })],
        'rule.iif': [() => namespace.addRule({ iif: WRONG, table: 100 })],
        'rule.oif': [() => namespace.addRule({ oif: WRONG, table: 100 })],
      };
      for (const [name, all] of Object.entries(calls)) {
        for (const call of all) {
          await assert.rejects(
            async () => call(),
            { message: new RegExp(`"${literally(name)}"`) },
            `${call}`,
          );
        }
      }
    }));
});
