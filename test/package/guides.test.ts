import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { constants } from 'node:os';
import { join } from 'node:path';
import { ROOT } from './packed.ts';

/** What lib/ says. */
const sources = (): string =>
  (readdirSync(join(ROOT, 'lib'), { recursive: true }) as string[])
    .filter((path) => path.endsWith('.ts'))
    .map((path) => readFileSync(join(ROOT, 'lib', path), 'utf8'))
    .join('\n');

describe('docs/errors.md', () => {
  const page = readFileSync(join(ROOT, 'docs/errors.md'), 'utf8');
  const explained = new Set([...page.matchAll(/`(E[A-Z0-9_]+)`/g)].map(([, code]) => code));
  const found = (pattern: RegExp): Set<string> =>
    new Set([...sources().matchAll(pattern)].map(([, code]) => code));
  const own = found(/'(ERR_[A-Z_]+)'/g);

  it('explains each code that this package makes, and those that it passes on with a hint', () => {
    const hinted = found(/^ {2}'(E[A-Z]+) [^']*':/gm);
    for (const codes of [own, hinted]) assert.notEqual(codes.size, 0);
    assert.deepEqual(
      [...own, ...hinted].filter((code) => !explained.has(code)),
      [],
    );
  });

  it('explains each system error that a docstring promises', () => {
    const promises = [...sources().matchAll(/@throws([\s\S]*?)(?=@|\*\/)/g)].flatMap(([, text]) =>
      text.match(/\bE[A-Z0-9]+\b/g),
    );
    const promised = new Set(promises.filter((code) => code !== null && code in constants.errno));
    assert.notEqual(promised.size, 0);
    assert.deepEqual(
      [...promised].filter((code) => code === null || !explained.has(code)),
      [],
    );
  });

  it('explains no code of this package that is gone', () => {
    const ofThisPackage = [...explained].filter((code) => /^ERR_(?!STREAM_)/.test(code));
    assert.deepEqual(
      ofThisPackage.filter((code) => !own.has(code)),
      [],
    );
  });
});

describe('docs/kernels.md', () => {
  it('has each version of Linux that the sources name', () => {
    const page = readFileSync(join(ROOT, 'docs/kernels.md'), 'utf8');
    const versions = new Set(
      [...sources().matchAll(/\bLinux (?:before )?(\d+\.\d+)/g)].map(([, version]) => version),
    );
    assert.notEqual(versions.size, 0);
    assert.deepEqual(
      [...versions].filter((version) => !page.includes(`| ${version} |`)),
      [],
    );
  });
});
