//! Owns the reading of the corpus in `ambiguous.txt`.

/// One request that is not what it seems.
#[derive(Clone, Debug)]
pub struct Case {
    pub name: String,
    pub bytes: String,
    /// The answers, in order. Behind nginx there may be fewer or others, but never more.
    pub statuses: Vec<u16>,
    /// How many of them hold a client secret.
    pub mints: usize,
}

/// All of them.
pub fn table() -> Vec<Case> {
    let lines = include_str!("ambiguous.txt").lines();
    lines
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| read(line).unwrap_or_else(|| panic!("{line}")))
        .collect()
}

fn read(line: &str) -> Option<Case> {
    let mut parts = line.splitn(4, " | ");
    let name = parts.next()?.to_owned();
    let statuses = parts.next()?.split(' ').filter(|word| *word != "-");
    let statuses = statuses.map(|word| word.parse().ok());
    Some(Case {
        name,
        statuses: statuses.collect::<Option<_>>()?,
        mints: parts.next()?.parse().ok()?,
        bytes: unescaped(parts.next()?)?,
    })
}

const POST: &str = "POST /token HTTP/1.1\r\nHost: localhost\r\n";

fn unescaped(text: &str) -> Option<String> {
    let mint = format!("{POST}Content-Length: 0\r\n\r\n");
    let text = text.replace("{mint}", &mint).replace("{post}", POST);
    let mut bytes = String::with_capacity(text.len());
    let mut rest = text.as_str();
    while let Some((before, after)) = rest.split_once('\\') {
        bytes.push_str(before);
        let kind = after.chars().next()?;
        rest = &after[1..];
        match kind {
            'r' => bytes.push('\r'),
            'n' => bytes.push('\n'),
            't' => bytes.push('\t'),
            '0' => bytes.push('\0'),
            'u' => {
                let (digits, behind) = rest.strip_prefix('{')?.split_once('}')?;
                bytes.push(char::from_u32(u32::from_str_radix(digits, 16).ok()?)?);
                rest = behind;
            }
            _ => return None,
        }
    }
    bytes.push_str(rest);
    Some(bytes)
}
