//! Writes texts as cells of CSV (RFC 4180) that no spreadsheet runs.

/// Returns a text as a cell of CSV. Spreadsheets run a text that begins like a formula, so such a text gets an apostrophe.
pub fn csv_cell(text: &str) -> String {
    let is_formula = text.starts_with([
        '=', '+', '-', '@', '\t', '\r', '\n', '|', '%', '＝', '＋', '－', '＠',
    ]);
    let mark = if is_formula { "'" } else { "" };
    format!("\"{mark}{}\"", text.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_that_begins_like_a_formula_is_text_to_a_spreadsheet() {
        for (text, cell) in [
            ("ana", "\"ana\""),
            ("a\"b,c", "\"a\"\"b,c\""),
            ("=1+1", "\"'=1+1\""),
            ("+1", "\"'+1\""),
            ("-1", "\"'-1\""),
            ("@SUM(A1)", "\"'@SUM(A1)\""),
            ("\t=1", "\"'\t=1\""),
            ("\r=1", "\"'\r=1\""),
            ("＝1", "\"'＝1\""),
        ] {
            assert_eq!(csv_cell(text), cell);
        }
    }
}
