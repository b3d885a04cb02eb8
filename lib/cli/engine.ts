/** What opens the tunnels of the commands. */

export { openWireGuard as openTunnel } from '../wireguard/index.js';
