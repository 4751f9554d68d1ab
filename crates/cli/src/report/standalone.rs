//! Conversion of a page's figure into a standalone SVG file with its title and legend, light or
//! dark, for documents that show pictures.

use super::chart::SIZE;

/// Font sizes of the title and the legend, and the height of their lines, in units of the view box.
const TITLE: usize = 76;
const LETTERS: usize = 62;
const LINE: usize = 96;
/// Margin at the left edge, and the width of a legend's sign up to its text.
const MARGIN: usize = 40;
const SIGN: usize = 130;

/// Returns the SVG file for a figure made by [`figure`](super::figure); `None` for any other HTML.
pub fn svg(figure: &str) -> Option<String> {
    let width = SIZE.0 as usize;
    let title = between(figure, "<figcaption>", "</figcaption>")?;
    let lines = wrapped(title, (width - 2 * MARGIN) * 5 / 3 / TITLE);
    let heading: String = lines
        .iter()
        .zip(1..)
        .map(|(line, number)| {
            let y = number * LINE;
            format!("<text x=\"{MARGIN}\" y=\"{y}\" font-size=\"{TITLE}\" font-weight=\"600\">{line}</text>\n")
        })
        .collect();
    let mut left = MARGIN;
    let mut top = (lines.len() + 1) * LINE;
    let mut signs = String::new();
    for item in figure.split("<span").skip(1) {
        let name = between(item, "</svg>", "</span>")?;
        let color = between(item, "var(--", ")")?;
        let wide = SIGN + name.chars().count() * LETTERS * 11 / 20 + MARGIN;
        if left > MARGIN && left + wide > width {
            (left, top) = (MARGIN, top + LINE);
        }
        let dashes = if item.contains("dashed") { " stroke-dasharray=\"26 18\"" } else { "" };
        let y = top - LETTERS / 3;
        let end = left + SIGN - 30;
        let words = left + SIGN;
        signs += &format!(
            "<path d=\"M{left} {y}H{end}\" stroke=\"var(--{color})\" stroke-width=\"11\"{dashes}/>\n\
             <text x=\"{words}\" y=\"{top}\" font-size=\"{LETTERS}\">{name}</text>\n"
        );
        left += wide;
    }
    let top = if signs.is_empty() { top - LINE / 2 } else { top + LINE / 2 };
    let (picture, height) = match figure.find("<svg viewBox=\"0 0 1760") {
        Some(from) => {
            let to = from + figure[from..].rfind("</svg>")?;
            let placed = figure[from..to].replacen(
                "<svg ",
                &format!("<svg y=\"{top}\" width=\"{width}\" height=\"{}\" ", SIZE.1),
                1,
            );
            (placed + "</svg>\n", SIZE.1 as usize)
        }
        None => {
            let source = between(figure, "src=\"", "\"")?;
            let side = width - 2 * MARGIN;
            let place = format!("x=\"{MARGIN}\" y=\"{top}\" width=\"{side}\" height=\"{side}\"");
            (
                format!("<image {place} style=\"image-rendering:pixelated\" href=\"{source}\"/>\n"),
                side + MARGIN,
            )
        }
    };
    let colors = include_str!("style.css").split("* {").next()?;
    let height = top + height;
    Some(format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" font-family=\"system-ui, sans-serif\">\n\
         <style>\n{colors}text {{ fill: var(--ink); }}\n</style>\n\
         <rect width=\"{width}\" height=\"{height}\" rx=\"32\" style=\"fill:var(--panel)\"/>\n\
         {heading}{signs}{picture}</svg>\n"
    ))
}

/// Wraps text to lines of at most `letters` characters; a longer word gets a line of its own.
fn wrapped(text: &str, letters: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let line = lines.last().map_or(0, |line| line.chars().count());
        match lines.last_mut() {
            Some(last) if line == 0 || line + 1 + word.chars().count() <= letters => {
                *last += if line == 0 { "" } else { " " };
                *last += word;
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// Returns the text between the first `from` and the next `to`.
fn between<'a>(text: &'a str, from: &str, to: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(from)?;
    rest.split_once(to).map(|(inner, _)| inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::chart::{legend, picture};
    use crate::report::{figure, table};

    #[test]
    fn words_are_wrapped_where_a_line_is_full() {
        assert_eq!(wrapped("a bc def", 4), ["a bc", "def"]);
        assert_eq!(wrapped("abcdef a", 4), ["abcdef", "a"]);
    }

    #[test]
    fn a_figure_stands_alone_with_title_and_legend() {
        let lines = [
            ("line-1", false, "without"),
            ("line-2", true, "a name so long that it takes a line of its own in the legend"),
        ];
        let body = picture("nothing", |_| Ok(())).unwrap();
        let svg = svg(&figure("Error & loss", &(legend(lines) + &body))).unwrap();
        assert!(
            svg.contains(">Error &amp; loss</text>")
                && svg.contains(">without</text>")
                && svg.contains("stroke-dasharray")
        );
        assert!(
            svg.contains("--line-2: ")
                && svg.matches("<svg").count() == svg.matches("</svg>").count()
        );
        assert!(super::svg(&table(&["a"], [vec!["b".to_owned()]])).is_none());
    }
}
