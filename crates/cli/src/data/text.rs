//! Text of files as people have them: packed or plain, UTF-8 or UTF-16, with any line end.

use std::io::Read;
use std::path::Path;

use super::{unpacked, unreadable};
use wgpu_dropout::{Result, file};

/// Reads a whole text. Its lines are divided by `\n`. `path` is for errors.
pub(super) fn read(path: &Path, mut input: impl Read) -> Result<String> {
    let mut bytes = Vec::new();
    // The packing is recognized only once all bytes are there: a pipe may deliver them one by one.
    input.read_to_end(&mut bytes).map_err(|error| file::failed(path, &error))?;
    if bytes.starts_with(super::GZIP) {
        let packed = std::mem::take(&mut bytes);
        let mut plain = unpacked(&packed[..]).map_err(|error| unreadable(path, &error))?;
        plain.read_to_end(&mut bytes).map_err(|error| unreadable(path, &error))?;
    }
    decoded(bytes).map_err(|what| file::refused(path.display(), what))
}

/// Decodes UTF-8, or UTF-16 of either byte order. Without a byte order mark, a zero byte beside the
/// first character tells UTF-16.
fn decoded(bytes: Vec<u8>) -> std::result::Result<String, String> {
    let text = match *bytes.as_slice() {
        [0xff, 0xfe, 0, 0, ..] | [0, 0, 0xfe, 0xff, ..] => {
            return Err("encoded as UTF-32: save it as UTF-8 or UTF-16".to_owned());
        }
        [0xff, 0xfe, ..] | [1..=255, 0, ..] => utf16(&bytes, u16::from_le_bytes)?,
        [0xfe, 0xff, ..] | [0, 1..=255, ..] => utf16(&bytes, u16::from_be_bytes)?,
        _ => utf8(bytes)?,
    };
    if let Some(at) = text.find('\0') {
        let line = line(&text.as_bytes()[..at]);
        return Err(format!("line {line}: a zero byte: expected text, such as a CSV file"));
    }
    let unmarked = text.trim_start_matches('\u{feff}');
    Ok(with_newlines(if unmarked.len() < text.len() { unmarked.to_owned() } else { text }))
}

fn utf8(bytes: Vec<u8>) -> std::result::Result<String, String> {
    String::from_utf8(bytes).map_err(|error| {
        let (before, rest) = error.as_bytes().split_at(error.utf8_error().valid_up_to());
        format!(
            "line {}: byte 0x{:02x} is not UTF-8: save the file as UTF-8 or UTF-16",
            line(before),
            rest.first().copied().unwrap_or_default()
        )
    })
}

fn utf16(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> std::result::Result<String, String> {
    let units = bytes.chunks(2).map(|pair| match *pair {
        [first, second] => unit([first, second]),
        // Half a unit at the end is no character: a surrogate, which cannot stand alone.
        _ => 0xd800,
    });
    let text: std::result::Result<String, _> = char::decode_utf16(units).collect();
    text.map_err(|_| "is not UTF-16, although it starts so: save it as UTF-8".to_owned())
}

/// Returns the number of the line that follows this text, from 1.
fn line(before: &[u8]) -> usize {
    1 + with_newlines(String::from_utf8_lossy(before).into_owned()).matches('\n').count()
}

/// Replaces every line end by `\n`.
fn with_newlines(text: String) -> String {
    if text.contains('\r') { text.replace("\r\n", "\n").replace('\r', "\n") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn utf16(text: &str, bytes: fn(u16) -> [u8; 2]) -> Vec<u8> {
        text.encode_utf16().flat_map(bytes).collect()
    }

    #[test]
    fn every_encoding_and_line_end_gives_the_same_text() {
        let text = "größe,Ä\n1,𝄞\n\n2,b";
        let marked = format!("\u{feff}{text}");
        for lines in ["\n", "\r\n", "\r"] {
            for text in [text, &marked] {
                let text = text.replace('\n', lines);
                for bytes in [
                    text.clone().into_bytes(),
                    utf16(&text, u16::to_le_bytes),
                    utf16(&text, u16::to_be_bytes),
                ] {
                    assert_eq!(decoded(bytes).unwrap(), "größe,Ä\n1,𝄞\n\n2,b", "{lines:?}");
                }
            }
        }
        assert_eq!(decoded(Vec::new()).unwrap(), "");
        // A mark is one only at the start.
        assert_eq!(decoded("a\u{feff}".into()).unwrap(), "a\u{feff}");
    }

    #[test]
    fn what_is_no_text_is_refused_by_name() {
        let odd = [utf16("\u{feff}ab", u16::to_le_bytes), vec![b'c']].concat();
        for (bytes, what) in [
            (b"a,b\r\n1,\xfc\r\n".to_vec(), "line 2: byte 0xfc is not UTF-8: save the file as"),
            (b"a\rb\r\xff\xff".to_vec(), "line 3: byte 0xff is not UTF-8"),
            (b"a,b\n1,2\0\n".to_vec(), "line 2: a zero byte: expected text"),
            (b"\xff\xfe\0\0a\0\0\0".to_vec(), "encoded as UTF-32"),
            (b"\0\0\xfe\xff\0\0\0a".to_vec(), "encoded as UTF-32"),
            (odd, "is not UTF-16"),
            (b"\xff\xfe\x00\xd8a\0".to_vec(), "is not UTF-16"),
        ] {
            let error = decoded(bytes).unwrap_err();
            assert!(error.starts_with(what), "{error}");
        }
    }
}
