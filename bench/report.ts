/** The benchmark's table and chart. */

export interface Row {
  readonly name: string;
  readonly gbps: number;
  readonly gbpsRatio: number;
  readonly gbpsVnetRatio: number;
  readonly cpuPerGB: number;
  readonly cpuPerGBRatio: number;
  readonly cpuPerGBVnetRatio: number;
  readonly cpuPerPacketUs: number;
  readonly cpuPerPacketRatio: number;
  readonly rttMs: number;
  readonly rttRatio: number;
  readonly busyRttMs: number;
  readonly busyRttRatio: number;
}

export function table(rows: readonly Row[]): string {
  const lines = rows.map(
    (row) =>
      `| ${row.name} | ${row.gbps.toFixed(2)} (${row.gbpsRatio.toFixed(2)}, ${row.gbpsVnetRatio.toFixed(2)}) | ` +
      `${row.cpuPerGB.toFixed(2)} (${row.cpuPerGBRatio.toFixed(2)}, ${row.cpuPerGBVnetRatio.toFixed(2)}) | ` +
      `${row.cpuPerPacketUs.toFixed(2)} (${row.cpuPerPacketRatio.toFixed(2)}) | ${row.rttMs.toFixed(3)} (${row.rttRatio.toFixed(2)}) | ` +
      `${row.busyRttMs.toFixed(3)} (${row.busyRttRatio.toFixed(2)}) |`,
  );
  return [
    '| forwarder | TCP, Gbit/s | CPU, s/GB | 64-byte UDP, CPU µs/packet | ping, ms | ping at once, ms |',
    '|---|---|---|---|---|---|',
    ...lines,
  ].join('\n');
}

/** Bars of the TCP throughput. */
export function chart(rows: readonly Row[]): string {
  const widest = Math.max(...rows.map((row) => row.gbps));
  const bars = rows.map((row, i) => {
    const y = 40 + i * 34;
    const width = Math.max(1, (row.gbps / widest) * 420).toFixed(0);
    return (
      `<text x="90" y="${y + 16}" text-anchor="end">${row.name}</text>` +
      `<rect x="100" y="${y}" width="${width}" height="24" fill="#3b6ea5"/>` +
      `<text x="${Number(width) + 106}" y="${y + 16}">${row.gbps.toFixed(2)}</text>`
    );
  });
  const height = 50 + rows.length * 34;
  return (
    `<svg xmlns="http://www.w3.org/2000/svg" width="640" height="${height}" font-family="sans-serif" font-size="14">` +
    `<title>TCP between two TUN devices</title><rect width="640" height="${height}" fill="white"/><text x="20" y="24">TCP between two TUN devices, Gbit/s</text>${bars.join('')}</svg>\n`
  );
}

const WAYS: readonly (readonly [string, string])[] = [
  ['batch raw', "`for await (batch of a.batches()) b.writeBatch(batch)`, `offload: 'raw'`"],
  ['batch split', '`for await (batch of a.batches()) b.writeBatch(batch)`'],
  ['stream split', '`a.pipe(b)`'],
  ['data split', "`a.on('data', (packet) => b.write(packet))`"],
];

/** The ways of reading side by side, each beside the C program that passes super-packets through. */
export function ways(rows: readonly Row[]): string {
  const lines = WAYS.flatMap(([name, code]) => {
    const row = rows.find((row) => row.name === name);
    if (!row) return [];
    const { gbps, gbpsVnetRatio, cpuPerGBVnetRatio } = row;
    return `| ${code} | ${gbps.toFixed(1)} Gbit/s | ${gbpsVnetRatio.toFixed(2)} | ${cpuPerGBVnetRatio.toFixed(2)} |`;
  });
  return ['| way | TCP | throughput, of C | CPU time a byte, of C |', '|---|---|---|---|', ...lines].join(
    '\n',
  );
}
