//! Restricts templates to variables, conditions and comments: nothing that loops, calls or grows.

use super::InstructionsError;

/// Longest condition between `{% if` and `%}`.
const LONGEST_CONDITION: usize = 200;
/// Variables.
const VARIABLES: [&str; 3] = ["name", "language", "role"];
/// Operators of conditions.
const OPERATORS: [&str; 7] = ["and", "or", "not", "==", "!=", "(", ")"];

/// Checks every tag. Returns the quoted words of all conditions.
pub(super) fn read(text: &str) -> Result<Vec<String>, InstructionsError> {
    let mut words = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find('{') {
        let from = &rest[at..];
        let line = 1 + text[..text.len() - from.len()].matches('\n').count();
        let unclear = |why| InstructionsError::Unclear { line, why };
        let end = match from.as_bytes().get(1) {
            Some(b'{') => "}}",
            Some(b'%') => "%}",
            Some(b'#') => "#}",
            _ => {
                rest = &from[1..];
                continue;
            }
        };
        let (tag, behind) = from[2..]
            .split_once(end)
            .ok_or_else(|| unclear("opens {{, {% or {# and does not close it"))?;
        let inside = tag.trim_matches(['-', '+']).trim();
        match end {
            "}}" if VARIABLES.contains(&inside) => {}
            "}}" => {
                return Err(unclear(
                    "between {{ and }} may stand name, language or role, and nothing else",
                ));
            }
            "%}" => words.extend(statement(inside).map_err(unclear)?),
            _ => {}
        }
        rest = behind;
    }
    Ok(words)
}

/// Returns the quoted words of a statement.
fn statement(inside: &str) -> Result<Vec<String>, &'static str> {
    let (verb, condition) = inside
        .split_once(char::is_whitespace)
        .unwrap_or((inside, ""));
    match verb {
        "else" | "endif" if condition.is_empty() => Ok(Vec::new()),
        "if" | "elif" => words(condition).ok_or(
            "a condition is made of name, language, role, words in quotes, ==, !=, and, or, not and parentheses",
        ),
        _ => Err("between {% and %} may stand if, elif, else or endif"),
    }
}

/// Returns the quoted words of a condition; `None` when it holds anything unknown.
fn words(condition: &str) -> Option<Vec<String>> {
    if condition.len() > LONGEST_CONDITION {
        return None;
    }
    let mut words = Vec::new();
    let mut rest = condition.trim_start();
    // Behind a word, a parenthesis would be a call.
    let mut is_behind_word = false;
    while let Some(first) = rest.chars().next() {
        let end = match first {
            '"' | '\'' => {
                let word = rest[1..].split_once(first)?.0;
                (!word.contains('\\')).then(|| words.push(word.to_owned()))?;
                word.len() + 2
            }
            '(' | ')' => 1,
            '=' | '!' => 2,
            _ => rest
                .find(|letter: char| !letter.is_ascii_lowercase())
                .unwrap_or(rest.len()),
        };
        let (token, behind) = rest.split_at_checked(end)?;
        let is_known = |known: &&str| *known == token;
        let is_quoted = first == '"' || first == '\'';
        let mut all = VARIABLES.iter().chain(&OPERATORS);
        let is_call = token == "(" && is_behind_word;
        (!is_call && (is_quoted || all.any(is_known))).then_some(())?;
        is_behind_word = is_quoted || token == ")" || VARIABLES.contains(&token);
        rest = behind.trim_start();
    }
    Some(words)
}

#[cfg(test)]
mod tests {
    use super::super::{Instructions, Listener};
    use super::*;

    #[test]
    fn what_could_run_long_or_grow_or_is_not_known_is_refused_by_line() {
        for tag in [
            "{{ nmae }}",
            "{{ name.first }}",
            "{{ name|upper }}",
            "{{ name * 1000 }}",
            "{{ 'x' }}",
            "{{ }}",
            "{{ name",
            "{{ range(9) }}",
            "{% for x in name %}{% endfor %}",
            "{% set x = 1 %}",
            "{% macro a() %}{% endmacro %}",
            "{% include 'x' %}",
            "{% raw %}{% endraw %}",
            "{% if name %}",
            "{% endif %}",
            "{% if %}x{% endif %}",
            "{% if name|length %}{% endif %}",
            "{% if nmae %}{% endif %}",
            "{% if name * 9 %}{% endif %}",
            "{% if role == \"a\\\" %}{% endif %}",
            "{% if role = 'a' %}{% endif %}",
            "{% if role == 'a %}{% endif %}",
            "{% if é %}{% endif %}",
            "{% else %}",
            "{% endif now %}",
            "{# note",
            "{% if [1] %}{% endif %}",
            "{% filter upper %}x{% endfilter %}",
            "{% with %}{% endwith %}",
            "{% if name() %}{% endif %}",
            "{% if name == name == %}{% endif %}",
            "{%",
            "{% if role ==! 'a' %}{% endif %}",
        ] {
            let text = format!("one\ntwo\n{tag}");
            let refused = Instructions::parse(&text, &Listener::default()).err();
            assert!(
                matches!(refused, Some(InstructionsError::Unclear { line: 3, .. })),
                "{tag}: {refused:?}"
            );
        }
        let long = format!("{{% if {} role %}}{{% endif %}}", "not ".repeat(60));
        assert!(read(&long).is_err());
    }
}
