import assert from 'node:assert/strict';
import { copyFileSync, mkdirSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { output, type Packed, packedPackage } from './packed.ts';

const PROGRAM = `
import { openTun } from 'tuntap-native';
import { NetworkNamespace } from 'tuntap-native/net';
async function main() {
  const namespace = await NetworkNamespace.create();
  const tun = openTun('tun0', { namespace });
  await tun.close();
  await namespace.close();
  return { name: tun.name };
}
main().catch(({ code, message }) => ({ code, message })).then((result) => console.log(JSON.stringify(result)));
`;

interface Result {
  readonly name?: string;
  readonly code?: string;
  readonly message: string;
}

describe('a program that loads the package', function () {
  this.timeout(180_000);
  let packed: Packed;
  let user: string;

  before(function () {
    packed = packedPackage(this);
    user = packed.install('bundled');
    writeFileSync(join(user, 'program.mjs'), PROGRAM);
  });

  const result = (cwd: string, ...args: string[]): Result =>
    JSON.parse(output(cwd, process.execPath, ...args));

  function assertRefused({ code, message }: Result, ...texts: string[]): void {
    assert.equal(code, 'ERR_TUNTAP_NO_BINARY', message);
    for (const text of texts) assert.ok(message.includes(text), message);
  }

  describe('bundled by esbuild', () => {
    const CURE = ['--external:tuntap-native', 'docs/bundlers.md'];

    before(() => {
      output(user, 'npm', 'install', '--no-save', '--ignore-scripts', '--prefer-offline', 'esbuild@0.28');
      mkdirSync(join(user, 'dist'));
      mkdirSync(join(user, 'elsewhere'));
    });

    function bundle(format: string, extension: string, ...options: string[]): string {
      const file = join('dist', `${format}${options.length}.${extension}`);
      const args = [
        '--bundle',
        '--platform=node',
        `--format=${format}`,
        `--outfile=${file}`,
        '--log-level=error',
      ];
      output(user, join(user, 'node_modules/.bin/esbuild'), 'program.mjs', ...args, ...options);
      return file;
    }

    for (const [format, extension] of [
      ['esm', 'mjs'],
      ['cjs', 'cjs'],
      ['iife', 'cjs'],
    ]) {
      it(`as ${format} runs if the package is external`, () => {
        assert.equal(result(user, bundle(format, extension, '--external:tuntap-native')).name, 'tun0');
      });

      it(`as ${format} with the package inside says how to keep it outside, wherever it is put`, () => {
        const file = bundle(format, extension);
        assertRefused(result(user, file), ...CURE);
        copyFileSync(join(user, file), join(user, file.replace('dist', 'elsewhere')));
        assertRefused(result(join(user, 'elsewhere'), file.replace('dist/', './')), ...CURE);
      });
    }

    it('and minified says so, too', () => {
      assertRefused(result(user, bundle('esm', 'mjs', '--minify')), ...CURE);
    });
  });

  describe("under Node's permission model", () => {
    const model = process.allowedNodeEnvironmentFlags.has('--permission')
      ? '--permission'
      : '--experimental-permission';

    it('opens a device with --allow-addons', () => {
      assert.equal(result(user, model, '--allow-fs-read=*', '--allow-addons', 'program.mjs').name, 'tun0');
    });

    for (const flags of [[model, '--allow-fs-read=*'], ['--no-addons']]) {
      it(`names the cure with ${flags.join(' ')}`, () => {
        const refused = result(user, ...flags, 'program.mjs');
        assertRefused(refused, 'ERR_DLOPEN_DISABLED', '--allow-addons', '--no-addons');
      });
    }
  });

  it('says what dlopen said of a binary that is there', () => {
    const folder = join(user, 'node_modules/tuntap-native/prebuilds', `linux-${process.arch}`);
    const addon = join(folder, 'tuntap-native.glibc.node');
    renameSync(addon, `${addon}.kept`);
    try {
      writeFileSync(addon, 'no ELF file');
      assertRefused(
        result(user, 'program.mjs'),
        `${addon.slice(addon.indexOf('prebuilds'))} can't be loaded`,
        'file too short',
      );
    } finally {
      renameSync(`${addon}.kept`, addon);
    }
  });
});
