/**
 * openWireGuard, with what is hard to bring about.
 * FAKE_EVENTS=1: the first peer has a handshake, moves, and expires. FAKE_FAILURE: opening fails. FAKE_SLOW: it hangs.
 * FAKE_SIGNAL: this process gets that signal meanwhile.
 */

import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import { openWireGuard, type PeerInfo, type WireGuard, type WireGuardOptions } from 'tuntap-native/wireguard';
import type { Tunnel } from '#dist/cli/command.js';

export async function openTunnel(name: string, options: WireGuardOptions): Promise<Tunnel> {
  const { FAKE_FAILURE, FAKE_SLOW, FAKE_EVENTS, FAKE_SIGNAL } = process.env;
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
  if (FAKE_SIGNAL) {
    process.kill(process.pid, FAKE_SIGNAL);
    const { signal } = options;
    // Deno hears of it later, perhaps not before the tunnel is open.
    if (process.versions.deno !== undefined && signal?.aborted === false) await once(signal, 'abort');
  }
  const tunnel = await openWireGuard(name, options);
  if (FAKE_EVENTS) void play(tunnel);
  return tunnel;
}

/** Begins when there is a peer and somebody listens. */
async function play(tunnel: WireGuard): Promise<void> {
  const peers = tunnel.peers.bind(tunnel);
  while (peers().length === 0 || tunnel.listenerCount('error') === 0)
    await delay(10, undefined, { ref: false });
  let change: Partial<PeerInfo> = {};
  tunnel.peers = () => peers().map((peer, i) => (i === 0 ? { ...peer, ...change } : peer));
  const step = async (
    ms: number,
    emit: (peer: PeerInfo) => void,
    more: Partial<PeerInfo> = {},
  ): Promise<void> => {
    await delay(ms, undefined, { ref: false });
    change = { ...change, ...more };
    const [peer] = tunnel.peers();
    if (peer) emit(peer);
  };
  await step(100, (peer) => tunnel.emit('handshake', peer), { latestHandshake: Date.now(), rxBytes: 148 });
  await step(100, (peer) => tunnel.emit('roam', peer), { endpoint: '192.0.2.77:7' });
  await step(50, () => tunnel.emit('error', new Error('first line\nsecond line')));
  await step(50, (peer) => tunnel.emit('expired', peer, 'wiped'));
}
