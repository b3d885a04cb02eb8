/** Passes the datagrams of a flow on, and the answers back. */

import { createSocket, type Socket } from 'node:dgram';
import type { ConnectionEnd, InterceptedFlow } from 'tuntap-native/intercept';

/** Destinations that a flow remembers; then it begins anew. */
const MAX_KNOWN = 1024;

type Way = Pick<ConnectionEnd, 'address' | 'family'>;

/** @param wayTo where a destination of the flow really is, or undefined if the flow must not go there; asked once for each */
export function forwardFlow(
  flow: InterceptedFlow,
  wayTo: (to: ConnectionEnd) => Promise<Way | undefined>,
): void {
  const ways = new Map<string, Promise<Way | undefined>>();
  const sockets = new Map<number, Socket>();
  // Answers come from where the program believes to have asked.
  const asked = new Map<string, ConnectionEnd>();

  const socketOf = (family: number): Socket => {
    const known = sockets.get(family);
    if (known) return known;
    const socket = createSocket(family === 4 ? 'udp4' : 'udp6');
    socket.on('error', () => {});
    socket.on('message', (bytes, from) => {
      const to = asked.get(`${from.address} ${from.port}`);
      if (to && !flow.closed) flow.send(bytes, to);
    });
    sockets.set(family, socket);
    return socket;
  };

  const find = async (to: ConnectionEnd): Promise<Way | undefined> => {
    const way = await wayTo(to);
    if (way) asked.set(`${way.address} ${to.port}`, to);
    return way;
  };

  const forward = async (bytes: Buffer, to: ConnectionEnd): Promise<void> => {
    if (ways.size >= MAX_KNOWN) {
      ways.clear();
      asked.clear();
    }
    const key = `${to.address} ${to.port}`;
    const found = ways.get(key) ?? find(to);
    ways.set(key, found);
    const way = await found.catch(() => {
      if (!flow.closed) flow.refuse(to, 'host-unreachable');
    });
    // It may be that the flow has ended meanwhile, and its sockets are closed.
    if (way && !flow.closed) socketOf(way.family).send(bytes, to.port, way.address, () => {});
  };

  flow.on('message', (bytes, to) => {
    forward(bytes, to).catch(() => {}); // a datagram is lost
  });
  flow.on('close', () => {
    for (const socket of sockets.values()) socket.close();
  });
}
