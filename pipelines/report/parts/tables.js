// The tables whose rows the page holds as they are, one object a row.

function rowsOf(table) { return recordsOf(told.tables[table]); }

function recordsOf({ columns, rows }) {
  return rows.map((row) => Object.fromEntries(columns.map((column, place) => [column, row[place]])));
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

function sqlOfTable(table, { isByTemplate = false, order = "all" } = {}) {
  return `select * from ${table}\nwhere ${chosenConditions(isByTemplate).join("\n    and ")}\norder by ${order};`;
}
