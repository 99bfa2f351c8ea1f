// The rows: compressed blocks in script elements, of which few are needed at a time.

/** The JSON value of a block. */
export async function block(id) {
  const text = document.getElementById(id).textContent;
  const bytes = Uint8Array.fromBase64
    ? Uint8Array.fromBase64(text)
    : Uint8Array.from(atob(text), (it) => it.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Response(stream).json();
}

/** The columns of all rows, one array each; `cut` are those of which texts were shortened. */
export async function columns(table) {
  const chunks = await Promise.all(
    Array.from({ length: Math.ceil(table.rows / table.chunk) }, (_, index) => block(`c${index}`)),
  );
  const values = table.columns.map((_, index) => {
    if (chunks.length === 1) return chunks[0].columns[index];
    return [].concat(...chunks.map((it) => it.columns[index]));
  });
  return { values, cut: new Set(chunks.flatMap((it) => it.cut)) };
}

let latest = { index: -1, rows: null };

async function blockOf(table, index) {
  if (latest.index !== index) latest = { index, rows: await block(`d${index}`) };
  return latest.rows;
}

/** The parts that one row shows when it is opened. */
export async function detail(table, row) {
  const rows = await blockOf(table, Math.floor(row / table.block));
  return rows[row % table.block];
}

/**
 * Looks through the whole texts of all rows; `test` gets the columns of one as an object.
 * @returns {Promise<Uint8Array | null>} one byte for each row; nothing if it was given up
 */
export async function scan(table, test, { isCurrent, onProgress }) {
  const found = new Uint8Array(table.rows);
  const blocks = Math.ceil(table.rows / table.block);
  for (let index = 0; index < blocks; index += 4) {
    const next = Array.from({ length: Math.min(4, blocks - index) }, (_, it) => block(`d${index + it}`));
    const loaded = await Promise.all(next);
    if (!isCurrent()) return null;
    loaded.forEach((rows, it) => {
      rows.forEach((parts, row) => {
        if (test(parts[0].values)) found[(index + it) * table.block + row] = 1;
      });
    });
    onProgress(Math.min(1, (index + 4) / blocks));
  }
  return found;
}
