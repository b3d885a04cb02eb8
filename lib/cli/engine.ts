/** What opens the tunnels of the commands. */

import type { OpenTunnel } from './command.js';

export const openTunnel: OpenTunnel = async () => {
  throw Object.assign(new Error('This version can not open WireGuard tunnels yet'), {
    code: 'ERR_TUNTAP_UNSUPPORTED',
  });
};
