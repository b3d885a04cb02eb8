import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { moduleArguments } from '../support.ts';

/** What opening a socket gives with an addon whose exports were changed by `change`: an error's code and its cause. */
function open(change: string): Promise<string[]> {
  const source = `
    const extensions = process.getBuiltinModule('node:module')._extensions;
    const [loader, name] = process.versions.deno ? [extensions, '.node'] : [process, 'dlopen'];
    const load = loader[name];
    loader[name] = (module, ...others) => {
      load.call(loader, module, ...others);
      const addon = module.exports;
      if (addon.attachUdp) { ${change} }
    };
    const { openUdp } = await import('${import.meta.resolve('tuntap-native/tunnel')}');
    try {
      await openUdp({ address: '127.0.0.1' }).close();
      console.log('[]');
    } catch (error) {
      console.log(JSON.stringify([error.code, error.cause?.message]));
    }`;
  return new Promise((resolve, reject) => {
    execFile(process.execPath, moduleArguments(source), (error, stdout) =>
      error ? reject(error) : resolve(JSON.parse(stdout)),
    );
  });
}

describe('the memory layout that the addon tells', () => {
  it('is accepted if it is the one of lib/native/layout.ts', async () => {
    assert.deepEqual(await open('addon.layout = { ...addon.layout };'), []);
  });

  for (const [name, change, difference] of [
    ['another offset', "addon.layout['BatchHeader.end'] = 12", 'BatchHeader.end is 12, not 8'],
    ['another size', 'addon.layout.DatagramEntry = 72', 'DatagramEntry is 72, not 64'],
    [
      'a field that it lacks',
      "delete addon.layout['BatchEntry.slot']",
      'BatchEntry.slot is undefined, not 12',
    ],
    ['a field more', 'addon.layout.more = 1', 'more is 1, not undefined'],
  ]) {
    it(`is refused with ${name}`, async () => {
      const [code, cause] = await open(change);
      assert.equal(code, 'ERR_TUNTAP_NO_BINARY');
      assert.match(cause, new RegExp(`\\.node is of another version: ${difference}$`));
    });
  }

  it('is refused if there is none, as in an older addon', async () => {
    const [code, cause] = await open('delete addon.layout');
    assert.equal(code, 'ERR_TUNTAP_NO_BINARY');
    assert.match(cause, /BatchHeader is undefined, not 32; /);
  });
});
