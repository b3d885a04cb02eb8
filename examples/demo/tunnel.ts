/**
 * One end of the demo's tunnel, in the namespace that it is started in: `tunnel.js FILE` opens the tunnel that a
 * wg-quick file describes, prints a line for each handshake, and closes the tunnel at SIGTERM.
 */

import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { openWireGuard, parseConfig } from 'tuntap-native/wireguard';

const [file = ''] = process.argv.slice(2);

// wg(8) needs no way to this tunnel; its sockets are files, which would disturb a second demo.
const wg = await openWireGuard('wg0', { ...parseConfig(readFileSync(file, 'utf8')), control: false });
wg.on('handshake', (peer) => console.log(`handshake with ${peer.endpoint}`));
console.log(`wg0 listens on port ${wg.listenPort}`);
await once(process, 'SIGTERM');
await wg.close();
