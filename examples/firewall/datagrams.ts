/** Passes the datagrams of a flow on, and the answers back. */

import { createSocket, type Socket } from 'node:dgram';
import { lookup } from 'node:dns/promises';
import type { ConnectionEnd, InterceptedFlow } from 'tuntap-native/intercept';

/** @param mayPass decides about each destination of the flow, once */
export function forwardFlow(flow: InterceptedFlow, mayPass: (to: ConnectionEnd) => boolean): void {
  // Where each destination really is, or undefined if the flow must not go there.
  const ways = new Map<string, Promise<{ address: string; socket: Socket } | undefined>>();
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

  const find = async (to: ConnectionEnd) => {
    if (!mayPass(to)) return undefined;
    const { address, family } = to.name === undefined ? to : await lookup(to.name);
    asked.set(`${address} ${to.port}`, to);
    return { address, socket: socketOf(family) };
  };

  flow.on('message', (bytes, to) => {
    const key = `${to.address} ${to.port}`;
    const way = ways.get(key) ?? find(to);
    ways.set(key, way);
    way.then(
      (found) => found?.socket.send(bytes, to.port, found.address),
      () => !flow.closed && flow.refuse(to, 'host-unreachable'),
    );
  });
  flow.on('close', () => {
    for (const socket of sockets.values()) socket.close();
  });
}
