//! Many small gray images as one picture, such as the filters of a first layer.

use crate::failure::Failure;
use crate::report::{escape, figure};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;

/// Gap between two images, in pixels.
const GAP: usize = 1;

/// Draws square images side by side, `in_a_row` to a row, each stretched over all shades, and
/// returns the picture with its title; empty if there are no images, or if they are not squares.
pub fn grid(title: &str, images: &[&[f64]], in_a_row: usize) -> Result<String, Failure> {
    let pixels = images.first().map_or(0, |image| image.len());
    let side = pixels.isqrt();
    if side * side != pixels || pixels == 0 || in_a_row == 0 {
        return Ok(String::new());
    }
    let rows = images.len().div_ceil(in_a_row);
    let [width, height] = [in_a_row, rows].map(|count| count * (side + GAP) - GAP);
    // Two bytes per pixel, gray and opacity: the gaps between images stay transparent.
    let mut picture = vec![0u8; 2 * width * height];
    for (index, image) in images.iter().enumerate() {
        let left = index % in_a_row * (side + GAP);
        let top = index / in_a_row * (side + GAP);
        let shade = shades(image);
        for (pixel, &value) in image.iter().enumerate() {
            let at = 2 * ((top + pixel / side) * width + left + pixel % side);
            picture[at..at + 2].copy_from_slice(&[shade(value), u8::MAX]);
        }
    }
    let png = encoded(&picture, width, height)
        .map_err(|error| Failure::Run(format!("the report's images: {error}")))?;
    let what = escape(title);
    let image = format!(
        "<img class=\"pixels\" alt=\"{what}\" src=\"data:image/png;base64,{}\">\n",
        BASE64_STANDARD.encode(png)
    );
    Ok(figure(title, &image))
}

/// Returns the map from values to shades: black for an image's smallest value, white for its
/// largest.
fn shades(image: &[f64]) -> impl Fn(f64) -> u8 {
    let (low, high) = image
        .iter()
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), &v| (low.min(v), high.max(v)));
    move |value| (255.0 * (value - low) / (high - low).max(f64::MIN_POSITIVE)) as u8
}

fn encoded(picture: &[u8], width: usize, height: usize) -> Result<Vec<u8>, png::EncodingError> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, width as u32, height as u32);
    encoder.set_color(png::ColorType::GrayscaleAlpha);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(picture)?;
    writer.finish()?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_lie_side_by_side_with_a_gap() {
        let a = [0.0, 1.0, 2.0, 4.0];
        let b = [5.0, 5.0, 5.0, 6.0];
        let page = grid("two", &[&a, &b, &a], 2).unwrap();
        let (_, rest) = page.split_once("base64,").unwrap();
        let bytes = BASE64_STANDARD.decode(rest.split_once('"').unwrap().0).unwrap();
        let mut reader = png::Decoder::new(std::io::Cursor::new(bytes)).read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut pixels).unwrap();
        assert_eq!((info.width, info.height), (5, 5));
        let row = |row: usize| &pixels[10 * row..10 * row + 10];
        assert_eq!(row(0), [0, 255, 63, 255, 0, 0, 0, 255, 0, 255]);
        assert_eq!(row(1), [127, 255, 255, 255, 0, 0, 0, 255, 255, 255]);
        assert_eq!(row(2), [0; 10]);
        assert_eq!(row(3), [0, 255, 63, 255, 0, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn what_is_no_square_is_no_image() {
        assert_eq!(grid("none", &[], 3).unwrap(), "");
        assert_eq!(grid("five", &[&[1.0; 5]], 3).unwrap(), "");
    }
}
