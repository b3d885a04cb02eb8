import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import type { NetworkNamespace } from 'tuntap-native';
import typescript from 'typescript';
import { inNamespace, run } from '../support.ts';
import { output, packedPackage, ROOT } from './packed.ts';

interface Document {
  /** Its path inside the package. */
  readonly path: string;
  readonly text: string;
  /** The text without code. */
  readonly prose: string;
  readonly examples: readonly { readonly language: string; readonly code: string }[];
}

function readDocument(root: string, path: string): Document {
  const text = readFileSync(join(root, path), 'utf8');
  const examples = [...text.matchAll(/^```(\w*)\n(.*?)^```$/gms)].map(([, language, code]) => ({
    language,
    code,
  }));
  const prose = text
    .replace(/^```.*?^```$/gms, '')
    .replace(/`[^`\n]*`/g, (code) => code.replace(/[[\]()<>]/g, ''));
  return { path, text, prose, examples };
}

/** The anchors of a page as GitHub makes them from headings, and those written out. */
function anchors({ prose }: Document): Set<string> {
  const found = new Set([...prose.matchAll(/<a id="([^"]+)">/g)].map(([, id]) => id));
  for (const [, heading] of prose.matchAll(/^#+ +(.*)$/gm)) {
    const slug = heading
      .toLowerCase()
      .replace(/[^\p{L}\p{N}\s_-]/gu, '')
      .replaceAll(' ', '-');
    let anchor = slug;
    for (let i = 1; found.has(anchor); i++) anchor = `${slug}-${i}`;
    found.add(anchor);
  }
  return found;
}

const links = ({ prose }: Document): string[] =>
  [...prose.matchAll(/\]\(([^)\s]+)|\]: (\S+)|(?:href|src)="([^"]+)"/g)]
    .map(([, inline, reference, html]) => inline ?? reference ?? html)
    .filter((link) => !/^[a-z]+:/.test(link));

describe('the documents of the package', function () {
  this.timeout(180_000);
  let user: string;
  let root: string;
  let documents: Document[];

  before(function () {
    user = packedPackage(this).install('reader');
    root = join(user, 'node_modules/tuntap-native');
    documents = (readdirSync(root, { recursive: true }) as string[])
      .filter((path) => path.endsWith('.md'))
      .map((path) => readDocument(root, path));
  });

  it('have a README, a CHANGELOG, guides and the API reference among them', () => {
    const paths = documents.map(({ path }) => path);
    for (const path of ['README.md', 'CHANGELOG.md', 'docs/devices.md', 'docs/api/README.md']) {
      assert.ok(paths.includes(path), path);
    }
  });

  it('link only to what the package has, and to headings that are there', () => {
    const pages = new Map(documents.map((document) => [document.path, anchors(document)]));
    const broken = documents.flatMap((document) =>
      links(document)
        .filter((link) => {
          const [file, anchor] = link.split('#');
          const target = relative(
            root,
            file ? join(root, dirname(document.path), file) : join(root, document.path),
          );
          if (target.startsWith('..') || !existsSync(join(root, target))) return true;
          return anchor !== undefined && pages.get(target)?.has(decodeURIComponent(anchor)) !== true;
        })
        .map((link) => `${document.path}: ${link}`),
    );
    assert.deepEqual(broken, []);
  });

  it('are there wherever an error or a docstring names one', () => {
    const compiled = join(root, 'dist');
    const named = (readdirSync(compiled, { recursive: true }) as string[])
      .map((path) => join(compiled, path))
      .filter((path) => statSync(path).isFile())
      .flatMap((path) => readFileSync(path, 'utf8').match(/docs\/[\w./-]+\.md/g) ?? []);
    assert.notEqual(named.length, 0);
    assert.deepEqual(
      named.filter((path) => !existsSync(join(root, path))),
      [],
    );
  });

  it('have examples that parse in plain JavaScript once the types are off, without `using`', () => {
    for (const { path, examples } of documents) {
      for (const { language, code } of examples) {
        if (language !== 'ts' && language !== 'js') continue;
        assert.doesNotMatch(code, /\busing \w+ =/, `${path}\n${code}`);
        const { diagnostics } = typescript.transpileModule(code, { reportDiagnostics: true });
        assert.deepEqual(
          diagnostics?.map(({ messageText }) => messageText),
          [],
          `${path}\n${code}`,
        );
      }
    }
  });

  it('have examples that import only what is there', () => {
    const folder = join(user, 'imports');
    mkdirSync(folder);
    for (const name of ['@types', 'undici-types', 'undici']) {
      symlinkSync(join(ROOT, 'node_modules', name), join(user, 'node_modules', name));
    }
    const imports = documents
      .filter(({ path }) => !path.startsWith('docs/api/'))
      .flatMap(({ examples }) => examples.flatMap(({ code }) => code.match(/^import .*?;$/gms) ?? []));
    assert.notEqual(imports.length, 0);
    for (const [i, statement] of imports.entries()) writeFileSync(join(folder, `${i}.mts`), statement);
    const compilerOptions = {
      module: 'nodenext',
      noEmit: true,
      strict: true,
      skipLibCheck: true,
      types: ['node'],
    };
    writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify({ compilerOptions }));
    output(folder, process.execPath, join(ROOT, 'node_modules/typescript/bin/tsc'), '-p', '.');
  });

  /** Runs what an example says that its reader can type, while its program runs. */
  async function type(namespace: NetworkNamespace, program: ChildProcess, command: string): Promise<void> {
    // Of ping one answer will do.
    const line = command.replace(/^ping\b/, 'ping -c1 -w5');
    for (;;) {
      const { status, stdout, stderr } = await run(namespace, 'sh', '-c', line);
      if (status === 0) return;
      assert.equal(program.exitCode, null, `${command}: ${stdout}${stderr}`);
      await setTimeout(100); // The program is still starting.
    }
  }

  it('have a README whose examples do what their comments say', async () => {
    const readme = readDocument(root, 'README.md');
    const programs = readme.examples.filter(({ language }) => language === 'ts' || language === 'js');
    // Such as: // Answers `ping 192.0.2.2`.
    const commands = programs.map(({ code }) =>
      [...code.matchAll(/^\s*\/\/.*`(ping [^`]+)`/gm)].map(([, line]) => line),
    );
    assert.notEqual(commands.flat().length, 0);
    for (const [i, { code }] of programs.entries()) {
      const file = join(user, `readme-${i}.mjs`);
      const options = { module: typescript.ModuleKind.ESNext, target: typescript.ScriptTarget.ES2022 };
      writeFileSync(file, typescript.transpileModule(code, { compilerOptions: options }).outputText);
      await inNamespace(async (namespace) => {
        const program = namespace.spawn(process.execPath, [file], { stdio: ['ignore', 'ignore', 'inherit'] });
        const ended = once(program, 'close');
        for (const command of commands[i]) await type(namespace, program, command);
        if (commands[i].length > 0) program.kill();
        const [status, signal] = await ended;
        assert.ok(
          status === 0 || (commands[i].length > 0 && signal === 'SIGTERM'),
          `${status} ${signal}\n${code}`,
        );
      });
    }
  });
});
