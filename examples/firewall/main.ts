/**
 * A firewall for one command: runs it where every connection and every UDP flow is decided about by rules, and logged.
 *
 *   node out/examples/firewall/main.js --allow 'tcp/*.example.org:443' --refuse '*' -- curl https://www.example.org/
 *
 * The first rule that matches decides; what no rule allows is refused. Rules name hosts, since the command's questions for
 * names are answered here: see rules.ts, and add rules of your own kind there. The command's only network is a TUN device
 * in a network namespace, so nothing gets past the rules. No root is needed where users may make namespaces.
 * The exit status is the command's.
 */

import { lookup } from 'node:dns/promises';
import { once } from 'node:events';
import { constants } from 'node:os';
import { parseArgs } from 'node:util';
import { NetworkNamespace, openTun } from 'tuntap-native';
import { type InterceptedConnection, type InterceptedFlow, intercept } from 'tuntap-native/intercept';
import { forwardFlow } from './datagrams.ts';
import { type Destination, decide, parseRule, type Rule, type Verdict } from './rules.ts';

/** Any address behind the device will do: all questions are answered. */
const NAME_SERVER = '192.0.2.53';

const verdicts = ['allow', 'refuse', 'drop'] as const;

/** The rules in their order, and the command. */
function readArguments(): { readonly rules: readonly Rule[]; readonly command: readonly string[] } {
  const { positionals: command, tokens } = parseArgs({
    allowPositionals: true,
    tokens: true,
    options: Object.fromEntries(
      verdicts.map((verdict) => [verdict, { type: 'string', multiple: true }] as const),
    ),
  });
  const rules = tokens.flatMap((token) =>
    token.kind === 'option' ? [parseRule(token.name as Verdict, token.value ?? '')] : [],
  );
  if (!command[0]) throw new Error('which command?');
  return { rules, command };
}

let given: ReturnType<typeof readArguments>;
try {
  given = readArguments();
} catch (error) {
  console.error(`${(error as Error).message.replaceAll('\n', ' ')}
usage: main.js [--allow RULE | --refuse RULE | --drop RULE]... -- COMMAND [ARGUMENT]...`);
  process.exit(2);
}
const { rules, command } = given;

function verdictOf(destination: Destination): Verdict {
  const { protocol, name, address, port } = destination;
  const { text, verdict } = decide(rules, destination);
  const where = destination.resolved ? `${name} at ${address}` : (name ?? address);
  console.error(`${protocol} to ${where} port ${port}: ${verdict} (${text})`);
  return verdict;
}

/** Decides by the name, and again by the address that it leads to, which whoever owns the name has chosen. */
async function wayTo(destination: Destination): Promise<[verdict: Verdict, way: Destination]> {
  const verdict = verdictOf(destination);
  if (verdict !== 'allow' || destination.name === undefined) return [verdict, destination];
  const { address, family } = await lookup(destination.name);
  const way: Destination = { ...destination, address, family: family === 4 ? 4 : 6, resolved: true };
  return [decide(rules, way).verdict === 'allow' ? 'allow' : verdictOf(way), way];
}

await using namespace = await NetworkNamespace.create();
await (await namespace.link('lo')).set({ up: true });
await using tun = openTun('tun0', {
  namespace,
  addresses: ['192.0.2.1/24', '2001:db8::1/64'],
  offload: 'raw',
  up: true,
});
for (const destination of ['0.0.0.0/0', '::/0']) await namespace.addRoute({ destination, device: 'tun0' });
await using interceptor = await intercept(tun, { names: true });

interceptor.on('connection', async (connection: InterceptedConnection) => {
  try {
    const [verdict, way] = await wayTo({ protocol: 'tcp', ...connection.destination });
    if (verdict !== 'allow') {
      connection.refuse(verdict === 'drop' ? 'drop' : 'prohibited');
      return;
    }
    await connection.relay(await interceptor.connect({ host: way.address, port: way.port }));
  } catch (error) {
    if (connection.state === 'pending') connection.refuse(error as Error);
  }
});

interceptor.on('flow', (flow: InterceptedFlow) => {
  forwardFlow(flow, async (to) => {
    const [verdict, way] = await wayTo({ protocol: 'udp', ...to });
    if (verdict === 'refuse' && !flow.closed) flow.refuse(to, 'prohibited');
    return verdict === 'allow' ? way : undefined;
  });
});

// The first use makes a pipe non-blocking, which the command would not expect later.
process.stderr.on('error', () => {});
const [program, ...args] = command;
const child = namespace.spawn(program, args, {
  stdio: 'inherit',
  parentDeathSignal: 'SIGKILL',
  etc: {
    'resolv.conf': `nameserver ${NAME_SERVER}\n`,
    'nsswitch.conf': 'passwd: files\ngroup: files\nhosts: files dns\n',
  },
});
process.on('SIGTERM', () => child.kill());
// A terminal sends Ctrl-C to the command as well.
process.on('SIGINT', () => {});
const [status, signal] = await once(child, 'exit');
process.exitCode = status ?? 128 + (constants.signals[signal as NodeJS.Signals] ?? 0);
