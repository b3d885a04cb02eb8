/** Line charts for docs/. */

export interface Line {
  readonly name: string;
  readonly values: readonly number[];
}

const COLOURS = ['#3b6ea5', '#c4622d', '#4f8f4f', '#7b5ea7'];
const [WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM] = [640, 340, 70, 150, 40, 40];

/** Lines over named places on the horizontal axis, which are evenly spaced; the vertical one begins at 0. */
export function lineChart(title: string, places: readonly string[], lines: readonly Line[]): string {
  const most = Math.max(...lines.flatMap(({ values }) => values)) || 1;
  const step = 10 ** Math.floor(Math.log10(most));
  const tick = most / step < 2 ? step / 4 : most / step < 5 ? step / 2 : step;
  const top = Math.ceil(most / tick) * tick;
  const x = (i: number) => LEFT + (i * (WIDTH - LEFT - RIGHT)) / Math.max(1, places.length - 1);
  const y = (value: number) => HEIGHT - BOTTOM - (value * (HEIGHT - TOP - BOTTOM)) / top;
  const grid = Array.from({ length: Math.round(top / tick) + 1 }, (_, i) => {
    const value = i * tick;
    return (
      `<line x1="${LEFT}" x2="${WIDTH - RIGHT}" y1="${y(value)}" y2="${y(value)}" stroke="#ddd"/>` +
      `<text x="${LEFT - 8}" y="${y(value) + 4}" text-anchor="end">${Number(value.toPrecision(3))}</text>`
    );
  });
  const names = places.map(
    (place, i) => `<text x="${x(i)}" y="${HEIGHT - BOTTOM + 20}" text-anchor="middle">${place}</text>`,
  );
  const drawn = lines.map(({ name, values }, i) => {
    const colour = COLOURS[i % COLOURS.length];
    const points = values.map((value, at) => `${x(at).toFixed(1)},${y(value).toFixed(1)}`);
    return (
      `<polyline points="${points.join(' ')}" fill="none" stroke="${colour}" stroke-width="2"/>` +
      `<rect x="${WIDTH - RIGHT + 16}" y="${TOP + i * 22}" width="12" height="12" fill="${colour}"/>` +
      `<text x="${WIDTH - RIGHT + 34}" y="${TOP + 11 + i * 22}">${name}</text>`
    );
  });
  return (
    `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${HEIGHT}" font-family="sans-serif" font-size="12">` +
    `<title>${title}</title><rect width="${WIDTH}" height="${HEIGHT}" fill="white"/><text x="20" y="22" font-size="14">${title}</text>` +
    `${[...grid, ...names, ...drawn].join('')}</svg>\n`
  );
}
