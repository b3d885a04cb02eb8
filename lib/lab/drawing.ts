/** Drawings of a lab, from its plan alone: pure functions to text. */

import type { NewRoute } from '../net/rtnetlink/route.js';
import type { LabBridge, LabHost, LabPlan, PlannedEnd } from './plan.js';

/** A line of a host's box. */
interface Row {
  readonly text: string;
  readonly style: 'host' | 'bridge' | 'link' | 'port' | 'note';
  /** Where its cable starts. */
  readonly end?: PlannedEnd;
}

interface Box {
  readonly rows: readonly Row[];
  readonly width: number;
  readonly height: number;
  x: number;
  y: number;
}

const ROW_HEIGHT = 20;
const CHARACTER_WIDTH = 7.3; // of the 12 px monospace font
const PADDING = 10;
const COLUMN_GAP = 110;
const BOX_GAP = 28;
const MARGIN = 20;
// Of a cable between two boxes of one column, which leaves both to the right.
const BULGE = 70;

export function drawMermaid({ hosts, links }: LabPlan): string {
  const names = [...hosts.keys()];
  const hostId = (host: string): string => `h${names.indexOf(host)}`;
  const bridgeId = (host: string, bridge: string): string =>
    `${hostId(host)}b${hosts.get(host)?.bridges?.findIndex(({ name }) => name === bridge)}`;
  const lines = ['flowchart LR'];
  for (const [host, { bridges = [], ...setup }] of hosts) {
    const node = `${hostId(host)}["${mermaidText([host, ...notes(setup)].join('\n'))}"]`;
    if (bridges.length === 0) {
      lines.push(`  ${node}`);
      continue;
    }
    lines.push(`  subgraph ${hostId(host)}s[" "]`, `    ${node}`);
    for (const bridge of bridges) {
      lines.push(`    ${bridgeId(host, bridge.name)}(["${mermaidText(linkText(bridge))}"])`);
    }
    lines.push('  end');
  }
  for (const ends of links) {
    const [first, second] = ends.map(({ host, master }) => (master ? bridgeId(host, master) : hostId(host)));
    lines.push(`  ${first} ---|"${mermaidText(ends.map(linkText).join('\n'))}"| ${second}`);
  }
  return `${lines.join('\n')}\n`;
}

export function drawSvg(plan: LabPlan): string {
  const boxes = new Map([...plan.hosts.keys()].map((host) => [host, boxOf(plan, host)]));
  const columns = columnsOf(plan).map((column) => column.map((host) => boxes.get(host) as Box));
  const { width, height } = place(columns);
  const cables = plan.links.map((ends) => cable(ends.map((end) => [boxes.get(end.host) as Box, end])));
  const style = [
    'text { font: 12px ui-monospace, "DejaVu Sans Mono", monospace; fill: #222 }',
    '.host { font-weight: bold } .note { fill: #666 }',
    '.box { fill: #fff; stroke: #556; } .head { fill: #dfe8f3 } .group { fill: #f1f4e6 }',
    '.cable { fill: none; stroke: #2b6cb0; stroke-width: 1.5 } .plug { fill: #2b6cb0 }',
  ];
  return `${[
    `<svg xmlns="http://www.w3.org/2000/svg" xml:space="preserve" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}">`,
    '<title>A network lab</title>',
    `<style>${style.join('\n')}</style>`,
    `<rect width="${width}" height="${height}" fill="#fff"/>`,
    ...[...boxes.values()].flatMap(drawBox),
    ...cables,
    '</svg>',
  ].join('\n')}\n`;
}

function boxOf({ hosts, links }: LabPlan, host: string): Box {
  const { bridges = [], ...setup } = hosts.get(host) ?? {};
  const ends = links.flat().filter((end) => end.host === host);
  const rows: Row[] = [{ text: host, style: 'host' }];
  for (const end of ends) if (!end.master) rows.push({ text: linkText(end), style: 'link', end });
  for (const bridge of bridges) {
    rows.push({ text: linkText(bridge), style: 'bridge' });
    for (const end of ends) {
      if (end.master === bridge.name) rows.push({ text: `  ${linkText(end)}`, style: 'port', end });
    }
  }
  for (const text of notes(setup)) rows.push({ text, style: 'note' });
  const longest = Math.max(...rows.map(({ text }) => text.length), 8);
  const width = Math.ceil(longest * CHARACTER_WIDTH) + 2 * PADDING;
  return { rows, width, height: rows.length * ROW_HEIGHT, x: 0, y: 0 };
}

/** Hosts by their distance from the first one of those that are joined. */
function columnsOf({ hosts, links }: LabPlan): string[][] {
  const columns: string[][] = [];
  const seen = new Set<string>();
  for (const root of hosts.keys()) {
    let next = [root];
    for (let distance = 0; next.length > 0; distance++) {
      const fresh = [...new Set(next)].filter((host) => !seen.has(host));
      for (const host of fresh) seen.add(host);
      if (fresh.length > 0) columns[distance] = [...(columns[distance] ?? []), ...fresh];
      const linksOf = (host: string) => links.filter((ends) => ends.some((end) => end.host === host));
      const ends = fresh.flatMap((host) => linksOf(host).flat());
      next = ends.map(({ host }) => host).filter((host) => !seen.has(host));
    }
  }
  return columns;
}

/** Gives the boxes their places; returns the size of the whole. */
function place(columns: readonly (readonly Box[])[]): { width: number; height: number } {
  const heightOf = (column: readonly Box[]): number =>
    column.reduce((sum, { height }) => sum + height + BOX_GAP, -BOX_GAP);
  const tallest = Math.max(...columns.map(heightOf), 0);
  let x = MARGIN;
  for (const column of columns) {
    let y = MARGIN + (tallest - heightOf(column)) / 2;
    for (const box of column) {
      box.x = x;
      box.y = y;
      y += box.height + BOX_GAP;
    }
    x += Math.max(...column.map(({ width }) => width)) + COLUMN_GAP;
  }
  return { width: x - COLUMN_GAP + BULGE + MARGIN, height: tallest + 2 * MARGIN };
}

function drawBox({ rows, width, height, x, y }: Box): string[] {
  const top = (row: number): number => y + row * ROW_HEIGHT;
  const band = (row: number, style: string): string =>
    `<rect class="${style}" x="${x}" y="${top(row)}" width="${width}" height="${ROW_HEIGHT}"/>`;
  const bands: Partial<Record<Row['style'], string>> = { host: 'head', bridge: 'group', port: 'group' };
  return [
    `<rect class="box" x="${x}" y="${y}" width="${width}" height="${height}"/>`,
    ...rows.flatMap(({ text, style }, row) => [
      ...(bands[style] ? [band(row, bands[style])] : []),
      `<text class="${style}" x="${x + PADDING}" y="${top(row) + 14}">${xmlText(text)}</text>`,
    ]),
    `<rect class="box" style="fill: none" x="${x}" y="${y}" width="${width}" height="${height}"/>`,
  ];
}

function cable(ends: readonly (readonly [Box, PlannedEnd])[]): string {
  const [[first], [second]] = ends;
  const leftmost = Math.min(first.x, second.x);
  const [from, to] = ends.map(([box, end]) => {
    const leavesRight = first.x === second.x || box.x === leftmost;
    const row = box.rows.findIndex((candidate) => candidate.end === end);
    return {
      x: leavesRight ? box.x + box.width : box.x,
      y: box.y + (row + 0.5) * ROW_HEIGHT,
      reach: leavesRight ? BULGE : -BULGE,
    };
  });
  const curve = `M ${from.x} ${from.y} C ${from.x + from.reach} ${from.y} ${to.x + to.reach} ${to.y} ${to.x} ${to.y}`;
  const plugs = [from, to].map(({ x, y }) => `<circle class="plug" cx="${x}" cy="${y}" r="3.5"/>`);
  return `<path class="cable" d="${curve}"/>${plugs.join('')}`;
}

function linkText(link: PlannedEnd | LabBridge): string {
  const { name, addresses = [], mtu, up } = link;
  const rate = 'tbf' in link && link.tbf ? rateText(link.tbf.rate) : undefined;
  return [name, ...addresses, mtu && `mtu ${mtu}`, rate, up === false && 'down'].filter(Boolean).join('  ');
}

function rateText(rate: number): string {
  const [unit, size] = rate >= 1e9 ? ['Gbit/s', 1e9] : rate >= 1e6 ? ['Mbit/s', 1e6] : ['kbit/s', 1e3];
  return `${Number((rate / size).toPrecision(3))} ${unit}`;
}

/** What a host does besides having links. */
function notes({ forwarding, routes = [] }: Pick<LabHost, 'forwarding' | 'routes'>): string[] {
  return [...(forwarding ? ['forwarding'] : []), ...routes.map(routeText)];
}

/** As `ip route` writes it. */
function routeText({ type, destination, via, device, nexthops = [], metric, table }: NewRoute): string {
  const named = (name: string, value: string | number | undefined) =>
    value === undefined ? [] : [name, value];
  const way = (hop: Pick<NewRoute, 'via' | 'device'>) => [
    ...named('via', hop.via),
    ...named('dev', hop.device),
  ];
  return [
    ...(type === undefined ? [] : [type]),
    destination,
    ...way({ via, device }),
    ...nexthops.flatMap((hop) => ['nexthop', ...way(hop)]),
    ...named('table', table),
    ...named('metric', metric),
  ].join(' ');
}

function xmlText(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}

/** Mermaid's own escapes, and its line break. */
function mermaidText(text: string): string {
  return text.replace(/[#"<>&]/g, (character) => `#${character.charCodeAt(0)};`).replaceAll('\n', '<br/>');
}
