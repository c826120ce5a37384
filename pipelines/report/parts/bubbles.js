// Pairs of names as circles: the size says how many sessions, the colour which share of them.

// Fewer say little, so their share has no colour.
const FEW_SESSIONS = 20;

// What a label says for a name: one of the page's own `words` where there is none. Names that are blank or such a word are quoted.
function labelled(name, word = null, words = [word]) {
  if (name === null) return word;
  return name.trim() === "" || words.includes(name) ? `“${name}”` : name;
}

// `values`: objects with x, y, sessions, share, isFew and what the tooltip shows.
function bubbles(values, { shareTitle, palette, isFromZero, tooltip }) {
  const most = Math.max(...values.map((each) => each.sessions));
  const sizes = [most / 10, most / 2, most].map((sessions) => Number(sessions.toPrecision(1))).filter((sessions) => sessions >= 1);
  const coloured = values.filter((each) => !each.isFew).map((each) => each.share);
  const [least, greatest] = coloured.length === 0 ? [0, 1] : [Math.min(...coloured), Math.max(...coloured)];
  const domain = isFromZero || least === greatest ? [0, greatest || 1] : [least, greatest];
  const beneath = { orient: "bottom", direction: "horizontal", titleOrient: "left" };
  const names = { type: "nominal", sort: null, title: null };
  return {
    data: { values },
    width: { step: 46 },
    height: { step: 22 },
    mark: { type: "circle", opacity: 1, stroke: styled("quiet"), strokeWidth: 0.75 },
    encoding: {
      x: { ...names, field: "x", axis: { orient: "top", labelAngle: -35, labelLimit: 170, grid: true } },
      y: { ...names, field: "y", axis: { labelLimit: 240, grid: true } },
      size: { field: "sessions", type: "quantitative", title: "sessions", scale: { range: [12, 340] }, legend: { ...beneath, values: [...new Set(sizes)], symbolFillColor: styled("line"), symbolStrokeColor: styled("quiet") } },
      color: {
        condition: { test: "datum.isFew", value: styled("line") },
        field: "share", type: "quantitative", title: shareTitle, scale: { domain, range: palette.map(colour), nice: true }, legend: { ...beneath, format: ".0%", gradientLength: 160 },
      },
      tooltip,
    },
  };
}

// Of how many pairs the page shows only those with the most sessions.
function leftOutPairs(rows, table) {
  const pairs = rows[0]?.pair_count ?? 0;
  return pairs > rows.length
    ? ` These are the ${counted(rows.length)} pairs with the most sessions; the other ${counted(pairs - rows.length)} are in ${table}.` : "";
}
