//! Prints tables for people.

use serde_json::Value;

/// Aligns the columns of a table whose first row is the head: numbers right, everything else left.
pub(super) fn table(rows: &[Vec<String>]) -> String {
    let rows: Vec<Vec<_>> = rows
        .iter()
        .map(|row| row.iter().map(|cell| printable(cell)).collect())
        .collect();
    let column = |at: usize| rows.iter().filter_map(move |row| row.get(at));
    let count = rows.first().map_or(0, Vec::len);
    let columns: Vec<_> = (0..count)
        .map(|at| {
            let width = column(at).map(|cell| cell.chars().count()).max();
            let is_number = |cell: &String| cell.bytes().all(|byte| byte.is_ascii_digit());
            (width.unwrap_or_default(), column(at).skip(1).all(is_number))
        })
        .collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&columns).map(|(cell, &(width, is_right))| {
            if is_right {
                format!("{cell:>width$}")
            } else {
                format!("{cell:<width$}")
            }
        });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
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
