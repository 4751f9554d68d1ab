//! A second reader of CSV files, written from the documentation alone: it shares no code with the
//! reader under test, and no library but the standard one. It reads character by character where
//! the other uses tables, and draws the test rows with a Philox of its own.

use std::collections::BTreeSet;

/// How to read a file.
#[derive(Debug, Clone, Copy, Default)]
pub struct Told {
    /// Index of the label's column: the first one or the last one.
    pub label_first: bool,
    pub header: Option<bool>,
    pub separator: Option<char>,
    pub share: f64,
    pub seed: u64,
}

/// Rows as they were read.
#[derive(Debug, Clone, PartialEq)]
pub struct Read {
    pub classes: Vec<String>,
    /// Features and class of each training row, and of each test row.
    pub parts: [Vec<(Vec<f32>, u32)>; 2],
}

/// A deliberate mistake, which a comparison must find.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mistake {
    None,
    QuotesAreText,
    NoByteOrder,
    OnlyLineFeeds,
    HeaderIsData,
    OnlyCommas,
    ClassesAsFound,
    NumbersAsText,
    EveryFifthRow,
    BlankLinesCount,
}

/// Reads a file; `None` if it is refused.
pub fn read(bytes: &[u8], told: Told, mistake: Mistake) -> Option<Read> {
    let text = decode(bytes, mistake)?;
    let separator = told.separator.unwrap_or_else(|| match mistake {
        Mistake::OnlyCommas => ',',
        _ => separator(&text),
    });
    let records = records(&text, separator, mistake)?;
    let width = records.first()?.len();
    if width < 2 {
        return None;
    }
    let label = if told.label_first { 0 } else { width - 1 };
    let is_header = match told.header {
        Some(told) => told,
        None => mistake != Mistake::HeaderIsData && names_columns(&records, label),
    };
    let mut rows = Vec::new();
    for record in &records[usize::from(is_header)..] {
        if record.len() != width || record.iter().any(|field| field.contains('\n')) {
            return None;
        }
        let class = class(&record[label], mistake)?;
        let mut features = Vec::new();
        for (_, field) in record.iter().enumerate().filter(|(column, _)| *column != label) {
            features.push(field.parse::<f32>().ok().filter(|value| value.is_finite())?);
        }
        rows.push((features, class));
    }
    let mut classes: Vec<String> = match mistake {
        Mistake::ClassesAsFound => {
            let mut seen = BTreeSet::new();
            rows.iter().map(|(_, class)| class.clone()).filter(|c| seen.insert(c.clone())).collect()
        }
        _ => rows
            .iter()
            .map(|(_, class)| class.clone())
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect(),
    };
    if classes.len() < 2 {
        return None;
    }
    if mistake != Mistake::ClassesAsFound && classes.iter().all(|name| name.parse::<i64>().is_ok())
    {
        classes.sort_by_key(|name| name.parse::<i64>().unwrap());
    }
    let number = |class: &String| classes.iter().position(|name| name == class).unwrap() as u32;
    let numbered: Vec<(Vec<f32>, u32)> =
        rows.iter().map(|(features, class)| (features.clone(), number(class))).collect();
    let tests = tests(&numbered, told, mistake);
    if tests.is_empty() || tests.len() == numbered.len() {
        return None;
    }
    let part = |test: bool| {
        let rows = numbered.iter().enumerate();
        rows.filter(|(row, _)| tests.contains(row) == test).map(|(_, row)| row.clone()).collect()
    };
    Some(Read { parts: [part(false), part(true)], classes })
}

fn decode(bytes: &[u8], mistake: Mistake) -> Option<String> {
    let wide = |little: bool| -> Option<Vec<u16>> {
        if bytes.len() % 2 == 1 {
            return None;
        }
        let unit = |i: usize| {
            let (a, b) = (u16::from(bytes[2 * i]), u16::from(bytes[2 * i + 1]));
            if little { a + 256 * b } else { 256 * a + b }
        };
        Some((0..bytes.len() / 2).map(unit).collect())
    };
    let at = |i: usize| bytes.get(i).copied();
    let little = match (at(0), at(1)) {
        (Some(0xff), Some(0xfe)) if at(2) == Some(0) && at(3) == Some(0) => return None,
        (Some(0), Some(0)) if at(2) == Some(0xfe) && at(3) == Some(0xff) => return None,
        (Some(0xff), Some(0xfe)) => Some(true),
        (Some(0xfe), Some(0xff)) => Some(mistake == Mistake::NoByteOrder),
        (Some(1..), Some(0)) => Some(true),
        (Some(0), Some(1..)) => Some(false),
        _ => None,
    };
    let text = match little {
        Some(little) => String::from_utf16(&wide(little)?).ok()?,
        None => std::str::from_utf8(bytes).ok()?.to_owned(),
    };
    if text.contains('\0') {
        return None;
    }
    // Line ends, one character at a time.
    let mut lines = String::new();
    let mut characters = text.trim_start_matches('\u{feff}').chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\r' if mistake == Mistake::OnlyLineFeeds => lines.push('\r'),
            '\r' => {
                characters.next_if_eq(&'\n');
                lines.push('\n');
            }
            other => lines.push(other),
        }
    }
    Some(lines)
}

fn separator(text: &str) -> char {
    let line = text.split('\n').find(|line| !line.trim().is_empty()).unwrap_or("");
    let mut counts = [(',', 0), (';', 0), ('\t', 0)];
    let mut quoted = false;
    for character in line.chars() {
        if character == '"' {
            quoted = !quoted;
        }
        for (separator, count) in &mut counts {
            if !quoted && character == *separator {
                *count += 1;
            }
        }
    }
    let mut best = counts[0];
    for (separator, count) in counts {
        if count > best.1 {
            best = (separator, count);
        }
    }
    best.0
}

/// Returns the rows that are not blank, each as its trimmed fields.
fn records(text: &str, separator: char, mistake: Mistake) -> Option<Vec<Vec<String>>> {
    let characters: Vec<char> = text.chars().chain(['\n']).collect();
    let mut records = Vec::new();
    let mut fields: Vec<String> = Vec::new();
    let mut i = 0;
    while i < characters.len() {
        // At the start of a field.
        let mut field = String::new();
        if characters[i] == '"' && mistake != Mistake::QuotesAreText {
            i += 1;
            while i < characters.len() {
                if characters[i] != '"' {
                    field.push(characters[i]);
                    i += 1;
                } else if characters.get(i + 1) == Some(&'"') {
                    field.push('"');
                    i += 2;
                } else {
                    i += 1;
                    break;
                }
            }
        }
        while i < characters.len() && characters[i] != separator && characters[i] != '\n' {
            field.push(characters[i]);
            i += 1;
        }
        fields.push(field.trim().to_owned());
        // At a separator, a line's end, or the end of an open quote.
        if characters.get(i) != Some(&separator) {
            let record = std::mem::take(&mut fields);
            if record != [""] {
                records.push(record);
            } else if mistake == Mistake::BlankLinesCount && i + 1 < characters.len() {
                return None;
            }
        }
        i += 1;
    }
    Some(records)
}

fn names_columns(records: &[Vec<String>], label: usize) -> bool {
    let is_number = |field: &String| field.parse::<f64>().is_ok();
    for (column, field) in records[0].iter().enumerate() {
        if field.is_empty() || is_number(field) {
            continue;
        }
        let below = records.get(1).and_then(|second| second.get(column));
        if column != label || below.is_some_and(is_number) {
            return true;
        }
    }
    false
}

fn class(field: &str, mistake: Mistake) -> Option<String> {
    if field.is_empty() || field.len() > 1000 {
        return None;
    }
    if mistake == Mistake::NumbersAsText {
        return Some(field.to_owned());
    }
    if let Ok(whole) = field.parse::<i64>() {
        return Some(whole.to_string());
    }
    match field.parse::<f64>() {
        Err(_) => Some(field.to_owned()),
        Ok(number) if number % 1.0 == 0.0 && number.abs() <= 2f64.powi(53) => {
            Some(format!("{}", number as i64))
        }
        Ok(_) => None,
    }
}

/// Returns the test rows.
fn tests(rows: &[(Vec<f32>, u32)], told: Told, mistake: Mistake) -> BTreeSet<usize> {
    if mistake == Mistake::EveryFifthRow {
        return (0..rows.len()).filter(|row| row % 5 == 4).collect();
    }
    let mut tests = BTreeSet::new();
    for class in rows.iter().map(|(_, class)| class).collect::<BTreeSet<_>>() {
        let mut of_class: Vec<usize> =
            (0..rows.len()).filter(|&row| rows[row].1 == *class).collect();
        if of_class.len() < 2 {
            continue;
        }
        let count = (told.share * of_class.len() as f64 + 0.5).floor().max(1.0) as usize;
        of_class.sort_by_key(|&row| (word(told.seed, row as u64), row));
        tests.extend(of_class.into_iter().take(count));
    }
    tests
}

/// Returns the first word of Philox4x32-10 at counter (0, row, 0x7ffffffd, 0).
fn word(seed: u64, row: u64) -> u64 {
    const LOW: u64 = 0xffff_ffff;
    let mut counter = [0, row, 0x7fff_fffd, 0];
    let mut key = [seed & LOW, seed >> 32];
    for _ in 0..10 {
        let [a, b] = [0xd251_1f53 * counter[0], 0xcd9e_8d57 * counter[2]];
        counter = [b >> 32 ^ counter[1] ^ key[0], b & LOW, a >> 32 ^ counter[3] ^ key[1], a & LOW];
        key = [(key[0] + 0x9e37_79b9) & LOW, (key[1] + 0xbb67_ae85) & LOW];
    }
    counter[0]
}
