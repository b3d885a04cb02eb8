/** `genkey`, `genpsk`, `pubkey`: as those of wg(8). */

import { fstatSync } from 'node:fs';
import { text } from 'node:stream/consumers';
import { generatePresharedKey, generatePrivateKey, publicKey } from '../wireguard/index.js';
import type { Command, Context } from './command.js';

/** Others must not read a secret from the file that it goes to. */
function warnIfReadable({ stdout, stderr }: Context): void {
  const { fd } = stdout as { fd?: number };
  const file = fd === undefined ? undefined : fstatSync(fd);
  if (file?.isFile() && file.mode & 0o007) {
    stderr.write('Warning: everybody can read the file that the key goes to. Set the umask to 077 first.\n');
  }
}

function generator(summary: string, generate: () => string): Command {
  return {
    usage: '',
    summary,
    positionals: [0, 0],
    async run(context) {
      warnIfReadable(context);
      context.stdout.write(`${generate()}\n`);
      return 0;
    },
  };
}

export const genkey = generator('Prints a new private key.', generatePrivateKey);
export const genpsk = generator('Prints a new preshared key.', generatePresharedKey);

export const pubkey: Command = {
  usage: '< FILE',
  summary: 'Prints the public key of the private key that it reads.',
  positionals: [0, 0],
  async run({ stdin, stdout }) {
    const key = (await text(stdin)).trim();
    stdout.write(`${publicKey(key)}\n`);
    return 0;
  },
};
