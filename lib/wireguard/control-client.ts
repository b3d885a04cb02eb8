/** Reads devices through their control sockets, as `wg show` does. */

import { type Dir, opendirSync, rmSync } from 'node:fs';
import { createConnection } from 'node:net';
import { join } from 'node:path';
import { ENODEV, ETIMEDOUT } from '../native/errno.js';
import { systemError } from '../system-error.js';
import { CONTROL_DIRECTORY, controlPath, fileAt } from './control-path.js';
import { parseState } from './control-state.js';
import type { DeviceState } from './controlled-device.js';

const TIMEOUT_MS = 10_000;
const SUFFIX = '.sock';

/** What a device answers to the request. */
function exchange(path: string, request: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    const socket = createConnection(path, () => socket.write(request));
    socket.setTimeout(TIMEOUT_MS, () => socket.destroy(systemError(ETIMEDOUT, 'read', path)));
    const finish = (): void => {
      socket.destroy();
      resolve(Buffer.concat(chunks).toString('latin1'));
    };
    let tail = '';
    socket.on('data', (chunk: Buffer) => {
      chunks.push(chunk);
      tail = (tail + chunk.subarray(-2).toString('latin1')).slice(-2);
      if (tail === '\n\n') finish();
    });
    socket.on('end', finish);
    socket.on('error', reject);
  });
}

/** Whether connecting failed because no process listens. As wg(8), removes a socket that is left over. */
function isGone(path: string, { code }: NodeJS.ErrnoException): boolean {
  if (code === 'ECONNREFUSED') rmSync(path, { force: true });
  return code === 'ECONNREFUSED' || code === 'ENOENT';
}

function isAlive(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createConnection(path, () => {
      socket.destroy();
      resolve(true);
    });
    socket.on('error', (error) => resolve(!isGone(path, error)));
  });
}

/** The names of all devices that have a control socket, in the directory's order, as `wg show` prints them. */
export async function listDevices(): Promise<readonly string[]> {
  let directory: Dir;
  try {
    directory = opendirSync(CONTROL_DIRECTORY);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
  const names: string[] = [];
  for await (const { name } of directory) {
    const path = join(CONTROL_DIRECTORY, name);
    if (name.length <= SUFFIX.length || !name.endsWith(SUFFIX) || !fileAt(path)?.isSocket()) continue;
    if (await isAlive(path)) names.push(name.slice(0, -SUFFIX.length));
  }
  return names;
}

/**
 * Reads the state of a device, secrets included.
 * @throws ENODEV if no process controls a device of that name; the errno that the device answers with; EPROTO
 */
export async function readDevice(name: string): Promise<DeviceState> {
  const path = controlPath(name);
  if (name.includes('/') || !fileAt(path)?.isSocket()) throw systemError(ENODEV, 'connect', name);
  const answer = await exchange(path, 'get=1\n\n').catch((error: NodeJS.ErrnoException) => {
    throw isGone(path, error) ? systemError(ENODEV, 'connect', name) : error;
  });
  const state = parseState(answer);
  if (typeof state === 'number') throw systemError(-state, 'get', name);
  return state;
}
