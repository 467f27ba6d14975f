// Follows the calls: writes new figures into the rows of the table, and reads the page again when calls come or go.

const table = document.querySelector('table[data-live]');
const said = document.querySelector('#live');

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
    if (!fits(rows, live)) {
      events.close();
      location.reload();
      return;
    }
    live.forEach(([, cells], place) => write(rows[place], cells));
    said.textContent = ', and followed since';
  };
  events.onerror = () => { said.textContent = '; the broker does not answer now'; };
  window.addEventListener('pagehide', () => events.close(), { once: true });
}

if (table) follow();
