import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { NODE, needs, type Outcome, skip } from '../support.ts';

const ROOT = fileURLToPath(new URL('../../../', import.meta.url));

/** Works, and makes the programs, once each of the errors in fail-0, fail-1, … was printed. */
const APT_GET = `#!/bin/sh
echo "apt-get $*" >>log
for file in fail-*; do
  [ -e "$file" ] || break
  cat "$file" >&2
  rm "$file"
  exit 100
done
case $* in *install*) ln -s sleep clang-format; ln -s sleep clang-tidy ;; esac
`;

describe('test/tools.sh', () => {
  let folder: string;

  beforeEach(function () {
    if (process.getuid?.() !== 0) skip(this, 'needs root');
    folder = mkdtempSync(join(tmpdir(), 'tuntap-tools-'));
    for (const program of ['sh', 'id', 'cut', 'sort', 'tr', 'date', 'cat', 'rm', 'ln']) {
      symlinkSync(execFileSync('which', [program], { encoding: 'utf8' }).trim(), join(folder, program));
    }
    writeFileSync(join(folder, 'sleep'), '#!/bin/sh\necho sleep >>log\n', { mode: 0o755 });
    writeFileSync(join(folder, 'apt-get'), APT_GET, { mode: 0o755 });
  });

  afterEach(() => {
    if (folder) rmSync(folder, { recursive: true });
  });

  /** Runs the script where no program is but what it uses itself. */
  function tools(argument: string, failures: readonly string[]): Outcome & { readonly calls: string[] } {
    for (const [i, failure] of failures.entries()) writeFileSync(join(folder, `fail-${i}`), failure);
    const { status, stdout, stderr } = spawnSync('/bin/sh', [join(ROOT, 'test/tools.sh'), argument], {
      cwd: folder,
      env: { PATH: folder },
      encoding: 'utf8',
    });
    return { status, stdout, stderr, calls: readFileSync(join(folder, 'log'), 'utf8').trim().split('\n') };
  }

  for (const [lock, text] of [
    ['its lists', 'E: Could not get lock /var/lib/apt/lists/lock. It is held by process 1234 (apt-get)'],
    [
      'dpkg',
      'E: Unable to acquire the dpkg frontend lock (/var/lib/dpkg/lock-frontend), is another process using it?',
    ],
  ]) {
    it(`waits while another process holds the lock of ${lock}`, () => {
      const { status, stdout, stderr, calls } = tools('lint', Array(7).fill(text));
      assert.deepEqual([status, stdout, stderr], [0, 'Installing clang-format clang-tidy \n', '']);
      assert.equal(calls.filter((call) => call === 'sleep').length, 7);
      assert.match(calls.at(-1) as string, /-o DPkg::Lock::Timeout=\d+ install .*clang-format clang-tidy$/);
    });
  }

  it('tries again after another error', () => {
    assert.equal(tools('lint', Array(2).fill('E: Failed to fetch')).stderr, '');
  });

  it('names what it could not install, and says why', () => {
    const { status, stdout, stderr, calls } = tools('lint', Array(9).fill('E: Failed to fetch'));
    assert.equal(status, 0);
    assert.match(stdout, /E: Failed to fetch/);
    assert.match(stderr, /^Missing programs: clang-format clang-tidy /);
    assert.equal(calls.filter((call) => call !== 'sleep').length, 3);
  });

  it('knows each program that a test asks for', () => {
    const asked = execFileSync(
      'grep',
      ['-rhoE', 'needs\\((this|context), .*\\)', 'test', '--include=*.ts', '--exclude=tools.test.ts'],
      { cwd: ROOT, encoding: 'utf8' },
    );
    const programs = new Set([...asked.matchAll(/'([^']+)'/g)].map(([, program]) => program));
    // They come with Node.js.
    for (const program of ['npm', 'npx']) programs.delete(program);
    const { stderr } = tools('test', Array(3).fill('E: Failed to fetch'));
    const missing = new Set(/^Missing programs: ([^(]*)/.exec(stderr)?.[1].trim().split(' '));
    assert.deepEqual(
      [...programs].filter((program) => !missing.has(program)),
      [],
    );
  });
});

describe('a test that is skipped', () => {
  const SUPPORT = new URL('../support.js', import.meta.url).href;

  /** Runs a suite of its own that asks for a program that is nowhere. */
  function mocha(CI: string): Outcome {
    const folder = mkdtempSync(join(tmpdir(), 'tuntap-skip-'));
    try {
      const file = join(folder, 'skipped.mjs');
      const body = `import { needs } from '${SUPPORT}';
        it('in a test', function () { needs(this, 'no-such-program'); });
        describe('suite', () => {
          before(function () { needs(this, 'no-such-program'); });
          it('in a hook', () => {});
        });
        it.skip('in the source', () => {});`;
      writeFileSync(file, body);
      const bin = join(ROOT, 'node_modules/mocha/bin/mocha.js');
      return spawnSync(NODE, [bin, '--no-config', ...(CI ? ['--forbid-pending'] : []), file], {
        env: { ...process.env, CI },
        encoding: 'utf8',
      });
    } finally {
      rmSync(folder, { recursive: true });
    }
  }

  it('says why, and does not fail', () => {
    const { status, stdout } = mocha('');
    assert.equal(status, 0, stdout);
    assert.match(stdout, /- in a test \[skipped: needs /);
    assert.match(stdout, /- in a hook \[skipped: needs /);
    assert.match(stdout, /3 pending/);
  });

  it('fails as root in CI, by name and with the reason', function () {
    if (process.getuid?.() !== 0) skip(this, 'needs root');
    const { status, stdout } = mocha('true');
    assert.equal(status, 3);
    assert.match(stdout, /1\) in a test/);
    assert.match(stdout, /"before all" hook.* for "in a hook"/);
    assert.match(stdout, /skipped: needs the program no-such-program/);
    assert.match(stdout, /in the source:\s+Error: Pending test forbidden/);
  });
});

describe('test/every-platform.sh', () => {
  it('goes on after a platform that fails, and tells how each went', () => {
    const folder = mkdtempSync(join(tmpdir(), 'tuntap-platforms-'));
    try {
      mkdirSync(join(folder, 'test'));
      mkdirSync(join(folder, 'scripts'));
      copyFileSync(join(ROOT, 'test/every-platform.sh'), join(folder, 'test/every-platform.sh'));
      writeFileSync(join(folder, 'scripts/build.js'), '');
      writeFileSync(join(folder, 'test/platforms.sh'), 'echo "$1: 5 passed"; [ "$1" = bun ] || exit 3');
      const script = join(folder, 'test/every-platform.sh');
      const { status, stdout } = spawnSync('sh', [script, 'bun', 'deno', 'bun'], { encoding: 'utf8' });
      const [, summary] = stdout.split('== summary\n');
      const passed = 'bun: passed (5 passed )\n';
      assert.equal(summary, `${passed}deno: FAILED with status 3 (5 passed )\n${passed}`, stdout);
      assert.equal(status, 1);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});

describe('test/node-versions.sh', () => {
  it('installs each Node.js where another user can run it, and goes on after one that fails', function () {
    needs(this, 'setpriv');
    const folder = mkdtempSync(join(tmpdir(), 'tuntap-versions-'));
    try {
      // In place of npm: packs nothing, and "installs" a node that fails unless another user can run it, and under version 22 always.
      const node =
        '#!/bin/sh\\n[ "$1" = --version ] || { echo "$@"; setpriv --reuid=65534 --clear-groups "$0" --version; }';
      writeFileSync(
        join(folder, 'npm'),
        `#!/bin/sh
        if [ "$1" = pack ]; then mkdir -p "$5/package/dist" "$5/package/prebuilds" && tar -czf "$5/p.tgz" -C "$5" package && echo p.tgz; exit; fi
        case "$*" in *p.tgz) exit ;; esac
        bin="$4/node_modules/\${5%@*}/bin"
        mkdir -p "$bin" && printf '${node}\\n' >"$bin/node" && chmod 755 "$bin/node"
        case $5 in *@22) echo false >>"$bin/node" ;; esac`,
        { mode: 0o755 },
      );
      const script = join(ROOT, 'test/node-versions.sh');
      const { status, stdout } = spawnSync('sh', [script, '20 22 24', 'one.test.js'], {
        env: { ...process.env, PATH: `${folder}:${process.env.PATH}`, CI: 'true' },
        encoding: 'utf8',
      });
      assert.equal(stdout.match(/--forbid-pending .*one\.test\.js$/gm)?.length, 3, stdout);
      assert.match(stdout, /^Failed under Node\.js 22$/m);
      assert.equal(status, 1);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
