/** The backends, by the names that Flannel's configuration has for them. */

import type { OpenBackend } from '../backend.ts';
import { openHostGateway } from './host-gw.ts';
import { openUdpBackend, type Path } from './udp.ts';
import { openVxlan } from './vxlan.ts';
import { openWireGuardBackend } from './wireguard.ts';

/** @throws Error if there is no such backend */
export function backendOf(type: string, path?: Path): OpenBackend {
  switch (type) {
    case 'udp':
      return (options) => openUdpBackend(options, path);
    case 'vxlan':
      return openVxlan;
    case 'host-gw':
      return openHostGateway;
    case 'wireguard':
      return openWireGuardBackend;
    default:
      throw new Error(
        `There is no backend '${type}': config.Backend.Type is udp, vxlan, host-gw or wireguard`,
      );
  }
}
