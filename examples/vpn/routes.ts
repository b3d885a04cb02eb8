/** The routes into the tunnel, and the way round it for the tunnel's own datagrams. */

import { type Family, NetworkNamespace, type NewRule } from 'tuntap-native/net';
import type { Endpoint } from 'tuntap-native/tunnel';
import { contains } from './allowed-addresses.ts';

// Of the networks that hold the server's own address; any number that nobody uses will do.
const TABLE = 51820;
// Before `main`, which is asked at 32766.
const PRIORITY = 32700;

/**
 * Sends networks through a device.
 *
 * A network that holds the server's address, such as 0.0.0.0/0, would send the tunnel's own datagrams into the tunnel.
 * Its route goes into a table of its own, which is asked after the rule that what is for the server goes by the table
 * `main`, whatever that says at the time. Other routes of `main`, but for the default route, still come first, so that
 * the neighbours stay neighbours.
 * @param around the server, of a client
 * @returns removes again what does not go with the device
 */
export async function addRoutes(
  device: string,
  networks: readonly string[],
  around?: Endpoint,
): Promise<() => Promise<void>> {
  await using here = await NetworkNamespace.current();
  const [server] = around?.address.split('%') ?? [];
  const inside = networks.filter((network) => server !== undefined && contains(network, server));
  for (const destination of networks) {
    if (inside.includes(destination)) await here.addRoute({ destination, device, table: TABLE });
    else await addRoute(here, destination, device);
  }
  if (server === undefined || inside.length === 0) return async () => {};
  const family: Family = around?.family ?? 4;
  const rules: NewRule[] = [
    { family, priority: PRIORITY, to: `${server}/${family === 4 ? 32 : 128}`, table: 'main' },
    { family, priority: PRIORITY + 1, table: 'main', suppressPrefixLength: 0 },
    { family, priority: PRIORITY + 2, table: TABLE },
  ];
  const remove = async (): Promise<void> => {
    await using here = await NetworkNamespace.current();
    for (const rule of rules) await here.deleteRule(rule).catch(ignore('ENOENT'));
  };
  try {
    // One that a killed client left behind is as good as a new one.
    for (const rule of rules) await here.addRule(rule).catch(ignore('EEXIST'));
  } catch (error) {
    await remove();
    throw error;
  }
  return remove;
}

/** The network of the device's own address has its route already. */
async function addRoute(here: NetworkNamespace, destination: string, device: string): Promise<void> {
  try {
    await here.addRoute({ destination, device });
  } catch (error) {
    const routes = await here.routes({ family: 'all' });
    if (!routes.some((route) => route.destination === destination && route.device === device)) throw error;
  }
}

function ignore(code: string): (error: NodeJS.ErrnoException) => void {
  return (error) => {
    if (error.code !== code) throw error;
  };
}
