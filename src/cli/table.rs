//! Prints tables for people.

use serde_json::Value;

/// Aligns the columns of a table whose first row is the head: numbers right, everything else left.
pub(super) fn table(rows: &[Vec<String>]) -> String {
    let is_number = |cell: &String| cell.bytes().all(|byte| byte.is_ascii_digit());
    let mut lines = vec![String::new(); rows.len()];
    for at in 0..rows.first().map_or(0, Vec::len) {
        let cells = rows.iter().filter_map(|row| row.get(at));
        let cells: Vec<_> = cells.map(|cell| printable(cell)).collect();
        let widths = cells.iter().map(|cell| cell.chars().count());
        let width = widths.max().unwrap_or_default();
        let is_right = cells.iter().skip(1).all(is_number);
        for (line, cell) in lines.iter_mut().zip(cells) {
            let space = " ".repeat(width - cell.chars().count());
            let (left, right) = if is_right {
                (space, cell)
            } else {
                (cell, space)
            };
            line.extend([&left, &right, "  "]);
        }
    }
    let lines: Vec<_> = lines.iter().map(|line| line.trim_end()).collect();
    lines.join("\n")
}

/// Replaces control characters: names that others chose must not move the cursor of a terminal.
fn printable(cell: &str) -> String {
    if cell.is_empty() {
        return "(none)".to_owned();
    }
    cell.replace(char::is_control, "\u{fffd}")
}

/// Returns the fields of an object as text. A field that is missing is empty.
pub(super) fn cells(object: &Value, names: &[&str]) -> Vec<String> {
    let cell = |name: &&str| match &object[name] {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    names.iter().map(cell).collect()
}
