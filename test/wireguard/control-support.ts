/** Devices behind control sockets, and clients of these. */

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import {
  type ControlSocket,
  type ControlSocketOptions,
  openControlSocket,
} from '#dist/wireguard/control-socket.js';
import { FakeDevice } from './fake-device.ts';
import { freeName, until } from './oracle.ts';

/** Runs `body` with a fake device whose socket wg finds. */
export async function withFake(
  body: (name: string, device: FakeDevice, socket: ControlSocket) => Promise<void> | void,
  options: ControlSocketOptions = {},
): Promise<void> {
  const name = freeName();
  const device = new FakeDevice();
  const socket = await openControlSocket(name, device, options);
  try {
    await body(name, device, socket);
  } finally {
    await socket.close();
  }
}

/** Runs wg in a process of its own that this one's event loop can answer. */
export async function run(
  ...args: string[]
): Promise<{ status: number | null; stdout: string; stderr: string }> {
  const child = spawn('wg', args, { env: { ...process.env, WG_COLOR_MODE: 'never' } });
  let stdout = '';
  let stderr = '';
  child.stdout.on('data', (data) => {
    stdout += data;
  });
  child.stderr.on('data', (data) => {
    stderr += data;
  });
  const [status] = await once(child, 'close');
  return { status, stdout, stderr };
}

/** A raw client: what it got, and whether the other end closed. */
export class Client {
  readonly socket: Socket;
  text = '';
  ended = false;
  constructor(path: string) {
    this.socket = connect({ path, allowHalfOpen: true });
    this.socket.on('data', (data) => {
      this.text += data.toString('latin1');
    });
    this.socket.on('end', () => {
      this.ended = true;
    });
    this.socket.on('close', () => {
      this.ended = true;
    });
    this.socket.on('error', () => {});
  }

  /** The answers to what is sent, once there are so many, or the other end has closed. */
  async ask(request: string | Buffer, answers = 1): Promise<string> {
    this.socket.write(request);
    await until(() => this.ended || this.text.split('errno=').length > answers, 'an answer');
    if (this.text.includes('errno=')) await until(() => this.ended || this.text.endsWith('\n\n'), 'its end');
    const { text } = this;
    this.text = '';
    return text;
  }

  close(): void {
    this.socket.destroy();
  }
}

export async function ask(
  path: string,
  request: string | Buffer,
  answers = 1,
): Promise<{ text: string; ended: boolean }> {
  const client = new Client(path);
  try {
    const text = await client.ask(request, answers);
    // A connection that goes on answers once more.
    const again = client.ended ? '' : await client.ask('get=1\n\n').catch(() => 'silent');
    return { text, ended: !again.includes('errno=0') };
  } finally {
    client.close();
  }
}

export const KEY = 'a1'.repeat(32);
export const OTHER = 'b2'.repeat(32);
