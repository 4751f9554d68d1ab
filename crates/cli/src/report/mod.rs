//! Parts of the commands' reports, each a single self-contained HTML page, light or dark.
//!
//! [`chart`] draws axes, lines and legends; `style.css` colors them. Each command builds its own
//! page from these parts.

pub mod chart;
pub mod standalone;

use crate::machine::{Machine, Place};

/// Builds a page from its sections.
pub fn document(title: &str, sections: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<title>{}</title>\n\
         <style>\n{}</style>\n</head>\n<body>\n<main>\n{sections}</main>\n</body>\n</html>\n",
        escape(title),
        include_str!("style.css")
    )
}

/// Returns the head of a page: its title, a lead sentence, the devices and the machine.
pub fn head(title: &str, lead: &str, machine: &Machine, places: &[Place]) -> String {
    let fact =
        |name: &str, value: &str| format!("<dt>{}</dt><dd>{}</dd>\n", escape(name), escape(value));
    let devices: String = places.iter().map(|place| fact(place.kind, &place.line())).collect();
    format!(
        "<h1>{}</h1>\n<p class=\"lead\">{}</p>\n<dl>\n{devices}{}{}</dl>\n",
        escape(title),
        escape(lead),
        fact(
            "Machine",
            &format!("{}, {} threads, {}", machine.cpu, machine.threads, machine.system)
        ),
        fact("Version", &format!("wgpu-dropout {}, {}", machine.version, machine.built))
    )
}

/// Escapes text for HTML.
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// Returns a table that scrolls by itself if the page is too narrow for it. The first column is
/// text. Heads are escaped; cells are HTML.
pub fn table(heads: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let line = |tag: &str, cells: &[String]| {
        let cells = cells.iter().map(|cell| format!("<{tag}>{cell}</{tag}>"));
        format!("<tr>{}</tr>\n", cells.collect::<String>())
    };
    let heads: Vec<String> = heads.iter().map(|head| escape(head)).collect();
    let rows: String = rows.into_iter().map(|row| line("td", &row)).collect();
    format!(
        "<div class=\"scroll\"><table>\n<thead>{}</thead>\n<tbody>\n{rows}</tbody>\n</table></div>\n",
        line("th", &heads)
    )
}

/// Returns a figure: a title above a picture.
pub fn figure(title: &str, svg: &str) -> String {
    format!("<figure>\n<figcaption>{}</figcaption>\n{svg}</figure>\n", escape(title))
}
