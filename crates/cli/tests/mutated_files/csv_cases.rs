//! Mutated CSV files: whatever their separators, quotes, encodings, headers and bytes, the reader
//! does not panic, and it reads the rows and the classes that a second reader reads.

use super::plain_csv::{Mistake, Read, Told, read};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use std::panic::catch_unwind;
use std::path::Path;
use wgpu_dropout::data::{DataSet, Samples};
use wgpu_dropout_cli::data::{self, Columns, Draw, Header, Label, Options, Separator};

/// Mistakes that the second reader is made to commit. The comparison must find each.
const MISTAKES: [Mistake; 9] = [
    Mistake::QuotesAreText,
    Mistake::NoByteOrder,
    Mistake::OnlyLineFeeds,
    Mistake::HeaderIsData,
    Mistake::OnlyCommas,
    Mistake::ClassesAsFound,
    Mistake::NumbersAsText,
    Mistake::EveryFifthRow,
    Mistake::BlankLinesCount,
];

fn pick<T: Copy>(random: &mut StdRng, from: &[T]) -> T {
    from[random.random_range(0..from.len())]
}

/// Returns a file as people have them, and how to read it.
fn file(random: &mut StdRng) -> (String, Told) {
    let separator = pick(random, &[',', ';', '\t']);
    let [label_first, has_header, quotes] = [(); 3].map(|()| random.random());
    let classes: &[&str] = pick(
        random,
        &[
            &["setosa", "versicolor", "virginica"][..],
            &["0", "1", "10", "9"],
            &["0.000e+00", "1.000e+00", "1"],
            &["-1", "+1"],
            &["a b", "Größe, \"x\"", "日本"],
            &["7", "b", "x;y"],
        ],
    );
    let field = |text: &str| {
        if quotes || text.contains([',', ';', '\t', '"']) {
            format!("\"{}\"", text.replace('"', "\"\""))
        } else {
            text.to_owned()
        }
    };
    let row = |features: [String; 2], label: &str| {
        let [a, b] = features.map(|feature| field(&feature));
        let label = field(label);
        let fields = if label_first { [label, a, b] } else { [a, b, label] };
        fields.join(&separator.to_string()) + "\n"
    };
    let mut text = String::new();
    if has_header {
        text += &row(["x".to_owned(), pick(random, &["y", "3", "a,b;c"]).to_owned()], "class");
    }
    for i in 0..random.random_range(4..16) {
        let class = pick(random, classes);
        text += &row([format!("{i}.5"), pick(random, &["-3e-1", " 4 ", "+7"]).to_owned()], class);
        if random.random_range(0..8) == 0 {
            text += pick(random, &["\n", "  \n"]);
        }
    }
    let told = Told {
        label_first,
        header: pick(random, &[None, None, Some(has_header)]),
        separator: pick(random, &[None, None, Some(separator)]),
        share: pick(random, &[0.2, 0.5, 0.07]),
        seed: pick(random, &[0, 0, 42, u64::MAX]),
    };
    (text, told)
}

/// Returns a text after up to four changes of single characters or parts.
fn changed(random: &mut StdRng, text: &str) -> String {
    const PIECES: [&str; 22] = [
        ",",
        ";",
        "\t",
        "\"",
        "\"\"",
        "\n",
        "\r",
        "\r\n",
        "\n\n",
        " ",
        "\u{feff}",
        "\u{a0}",
        "\u{2028}",
        "\0",
        "nan",
        "1e999",
        "-",
        ".5",
        "0x1",
        "class",
        "é",
        "9007199254740993.0",
    ];
    let mut text: Vec<char> = text.chars().collect();
    for _ in 0..random.random_range(0..5_u32).saturating_sub(1) {
        let at = random.random_range(0..=text.len());
        let end = (at + random.random_range(0..4)).min(text.len());
        match random.random_range(0..4) {
            0 => drop(text.drain(at..end)),
            1 => {
                let part = text[at..end].to_vec();
                let to = random.random_range(0..=text.len());
                text.splice(to..to, part);
            }
            2 => text.truncate(at.max(8)),
            _ => drop(text.splice(at..at, pick(random, &PIECES).chars())),
        }
    }
    text.into_iter().collect()
}

/// Returns a text in an encoding, now and then with a byte changed afterwards.
fn encoded(random: &mut StdRng, text: &str) -> Vec<u8> {
    let text = text.replace('\n', pick(random, &["\n", "\r\n", "\r"]));
    let text = if random.random() { text } else { format!("\u{feff}{text}") };
    let mut bytes: Vec<u8> = match random.random_range(0..4) {
        0 => text.encode_utf16().flat_map(u16::to_le_bytes).collect(),
        1 => text.encode_utf16().flat_map(u16::to_be_bytes).collect(),
        _ => text.into_bytes(),
    };
    if random.random_range(0..6) == 0 && !bytes.is_empty() {
        let at = random.random_range(0..bytes.len());
        bytes[at] = random.random();
    }
    bytes
}

fn options(told: Told) -> Options {
    let separator = told.separator.map(|separator| match separator {
        ',' => Separator::Comma,
        ';' => Separator::Semicolon,
        _ => Separator::Tab,
    });
    let columns = Columns {
        label: Some(if told.label_first { Label::First } else { Label::Last }),
        header: told.header.map(|is_header| if is_header { Header::Yes } else { Header::No }),
        separator,
    };
    Options { columns, draw: Draw::new(told.share, told.seed), test_file: None }
}

/// Returns a data set in the form of the second reader.
fn rows(set: &DataSet) -> Read {
    let part = |samples: &Samples| {
        let features = samples.features_f32();
        let rows = features.chunks(samples.cols).map(<[f32]>::to_vec);
        rows.zip(samples.labels.iter().copied()).collect()
    };
    Read { classes: set.classes.clone(), parts: [part(&set.train), part(&set.test)] }
}

/// Reads `cases` mutated files with both readers. Returns the number of files that were read, and
/// for each of the mistakes how many files show it.
pub fn compare(path: &Path, cases: u64) -> (usize, [usize; MISTAKES.len()]) {
    let (mut accepted, mut found) = (0, [0; MISTAKES.len()]);
    for case in 0..cases {
        let mut random = StdRng::seed_from_u64(case);
        let (text, told) = file(&mut random);
        let text = changed(&mut random, &text);
        let bytes = encoded(&mut random, &text);
        std::fs::write(path, &bytes).unwrap();
        let opened = catch_unwind(|| data::open(path, &options(told)))
            .unwrap_or_else(|_| panic!("case {case} panics: {told:?} {text:?}"));
        // Some file systems wait for the disk if a file is overwritten, but not if it is new.
        std::fs::remove_file(path).unwrap();
        let ours = opened.as_ref().ok().map(|opened| rows(&opened.set));
        let right = read(&bytes, told, Mistake::None);
        assert_eq!(ours, right, "case {case}: {told:?} {text:?} {:?}", opened.err());
        accepted += usize::from(right.is_some());
        if case < 3000 {
            for (found, mistake) in found.iter_mut().zip(MISTAKES) {
                *found += usize::from(read(&bytes, told, mistake) != right);
            }
        }
    }
    (accepted, found)
}

/// Checks the outcome of a comparison.
pub fn check(cases: u64, (accepted, found): (usize, [usize; MISTAKES.len()])) {
    println!("{cases} CSV files, {accepted} of them readable; mistakes found: {found:?}");
    // Controls: many files are read, many are not, and every mistake would have been noticed.
    let cases = cases as usize;
    assert!(accepted > cases / 5 && accepted < cases * 4 / 5, "{accepted}");
    assert!(found.iter().all(|&found| found > 0), "{found:?} of {MISTAKES:?}");
}
