// Follows the calls: writes new figures into the rows of the table, and reads the page again when calls come or go.

const table = document.querySelector('table[data-live]');
const said = document.querySelector('#live');
/** A page is read again so many milliseconds after it was read, at the earliest: somewhere calls come and go all the time. */
const REST = 5000;

/** Writes the cells of one row. Cells that did not change keep their node, so that nothing loses the focus. */
function write(row, cells) {
  cells.forEach((text, place) => {
    const cell = row.cells[place];
    const target = cell.firstElementChild ?? cell;
    if (target.textContent !== text) target.textContent = text;
  });
}

/** Whether the table has exactly these rows, with the same buttons. */
function fits(rows, live) {
  return rows.length === live.length
    && live.every(([key, , canEnd], place) => rows[place].dataset.key === key
      && (rows[place].querySelector('form') !== null) === canEnd);
}

function follow() {
  const events = new EventSource(table.dataset.live);
  events.onmessage = ({ data }) => {
    const live = JSON.parse(data).rows;
    const rows = [...table.tBodies[0].rows];
    if (!fits(rows, live) && performance.now() > REST) {
      events.close();
      location.reload();
      return;
    }
    const cells = new Map(live);
    rows.filter((row) => cells.has(row.dataset.key)).forEach((row) => write(row, cells.get(row.dataset.key)));
    said.textContent = ', and followed since';
  };
  events.onerror = () => { said.textContent = '; the broker does not answer now'; };
  window.addEventListener('pagehide', () => events.close(), { once: true });
}

if (table) follow();
