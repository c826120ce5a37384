// The tables whose rows the page holds as they are, one object a row.

function rowsOf(table) { return recordsOf(told.tables[table]); }

// A text is in the table once, in `texts` by its column, and its cells have the place.
function recordsOf({ columns, rows, texts = {} }) {
  const read = (column, cell) => (cell === null || !Object.hasOwn(texts, column) ? cell : texts[column][cell]);
  return rows.map((row) => Object.fromEntries(columns.map((column, place) => [column, read(column, row[place])])));
}

// Of a table that the filters choose from, the rows of what is chosen; with `isByTemplate` those of each template where
// all are chosen.
function chosenRows(table, { isByTemplate = false } = {}) {
  return rowsOf(table).filter((row) => DIMENSIONS.every((dimension) => {
    const isAll = row[`is_all_${dimension}s`];
    if (chosen[dimension] === ALL) return isAll !== (isByTemplate && dimension === "template");
    return !isAll && row[COLUMNS[dimension]] === told.names[dimension][chosen[dimension]];
  }));
}

// `where`: further conditions.
function sqlOfTable(table, { isByTemplate = false, where = [], order = "all" } = {}) {
  return `select * from ${table}\nwhere ${[...chosenConditions(isByTemplate), ...where].join("\n    and ")}\norder by ${order};`;
}
