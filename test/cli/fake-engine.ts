/**
 * openWireGuard, with what is hard to bring about.
 * FAKE_EVENTS=1: the first peer has a handshake, moves, and expires. FAKE_FAILURE: opening fails. FAKE_SLOW: it hangs.
 */

import { openWireGuard, type PeerInfo, type WireGuard, type WireGuardOptions } from 'tuntap-native/wireguard';
import type { Tunnel } from '#dist/cli/command.js';

export async function openTunnel(name: string, options: WireGuardOptions): Promise<Tunnel> {
  const { FAKE_FAILURE, FAKE_SLOW, FAKE_EVENTS } = process.env;
  if (FAKE_FAILURE) throw new Error(FAKE_FAILURE);
  if (FAKE_SLOW) {
    console.log('opening');
    await new Promise((_, reject) => {
      const timer = setTimeout(() => {}, 60_000);
      options.signal?.addEventListener('abort', () => {
        clearTimeout(timer);
        reject(options.signal?.reason);
      });
    });
  }
  const tunnel = await openWireGuard(name, options);
  if (FAKE_EVENTS) play(tunnel);
  return tunnel;
}

function play(tunnel: WireGuard): void {
  const peers = tunnel.peers.bind(tunnel);
  let change: Partial<PeerInfo> = {};
  tunnel.peers = () => peers().map((peer, i) => (i === 0 ? { ...peer, ...change } : peer));
  const step = (ms: number, emit: (peer: PeerInfo) => void, more: Partial<PeerInfo> = {}): void => {
    setTimeout(() => {
      change = { ...change, ...more };
      const [peer] = tunnel.peers();
      emit(peer);
    }, ms);
  };
  step(100, (peer) => tunnel.emit('handshake', peer), { latestHandshake: Date.now(), rxBytes: 148 });
  step(200, (peer) => tunnel.emit('roam', peer), { endpoint: '192.0.2.77:7' });
  step(250, () => tunnel.emit('error', new Error('first line\nsecond line')));
  step(300, (peer) => tunnel.emit('expired', peer, 'wiped'));
}
