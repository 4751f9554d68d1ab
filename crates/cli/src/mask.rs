//! `mask`: prints a mask. Large masks are drawn and written piece by piece.

use crate::args::{Common, integer};
use crate::engine;
use crate::failure::Failure;
use crate::npy;
use crate::output::{self, Role};
use crate::outputs::{self, Transaction};
use crate::rate::describe_keep;
use crate::scores::{self, ScoresArgs};
use crate::site::Site;
use std::io::{self, Write};
use std::path::PathBuf;
use wgpu_dropout::{AttentionPlace, Backend, Device, Error, Mask, elements};

/// Number of elements drawn at a time.
const PIECE: usize = 1 << 24;

/// Arguments of `mask`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Rows of the mask, decimal or 0x
    #[arg(long, value_parser = integer::<usize>, allow_negative_numbers = true)]
    #[arg(required_unless_present = "attention")]
    rows: Option<usize>,
    /// Columns of the mask, decimal or 0x
    #[arg(long, value_parser = integer::<usize>, allow_negative_numbers = true)]
    #[arg(required_unless_present = "attention")]
    cols: Option<usize>,
    /// Mask of attention scores: sequences, query heads, queries and keys
    #[arg(long, value_name = "B,H,Q,K", value_parser = scores::shape)]
    #[arg(conflicts_with_all = ["rows", "cols", "row_offset", "col_offset"])]
    attention: Option<[usize; 4]>,
    #[command(flatten)]
    scores: ScoresArgs,
    #[command(flatten)]
    site: Site,
    /// `bits`: one line of the characters 0 and 1 per row; `npy`: an array of the bytes 0 and 1
    #[arg(long, value_enum, default_value_t = Format::Bits)]
    format: Format,
    /// Write the mask to this file, or to stdout for `-`; without it, `bits` go to stdout; `npy`
    /// requires it
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    Bits,
    Npy,
}

/// Runs `mask`.
pub fn run(args: &Args, common: &Common) -> Result<(), Failure> {
    let mask = args.site.mask(args.site.rate.needed()?, common.seed());
    let parts = parts(args, mask)?;
    if args.format == Format::Npy && args.output.is_none() {
        return Err(Failure::usage("--format npy needs --output FILE"));
    }
    outputs::check(common, args.output.iter().map(|path| ("--output", path.as_path())), &[])?;
    let file = args.output.as_deref().filter(|path| !outputs::is_stdout(path));
    let to_stdout = file.is_none() && !common.json;
    if to_stdout {
        output::set(Role::Data);
    }
    let mut drawing = Drawing { parts, device: engine::open(&common.device, common.tile)? };
    args.site.rate.remark();
    let mut more = serde_json::Map::new();
    let mut kept = 0;
    let mut write = |out: &mut dyn Write| -> io::Result<()> {
        kept = match args.format {
            Format::Npy => drawing.npy(out)?,
            Format::Bits => drawing.lines(out)?,
        };
        Ok(())
    };
    match file {
        Some(path) => {
            let mut outputs = Transaction::default();
            outputs.add(path, &mut write);
            outputs.write()?;
        }
        None if to_stdout => {
            // A reader that has seen enough of a mask ends the command.
            outputs::to_stdout(&mut write).map_err(|error| Failure::stdout(&error))?;
        }
        // Stdout must hold only the JSON object, so the mask becomes part of it.
        None => {
            let mut bytes = drawing.bytes()?;
            kept = count(&bytes);
            bytes.iter_mut().for_each(|bit| *bit += b'0');
            let Parts { cols, .. } = drawing.parts;
            let row =
                |row: usize| String::from_utf8_lossy(&bytes[row * cols..][..cols]).into_owned();
            more.insert("mask".to_owned(), (0..drawing.parts.all_rows()).map(row).collect());
        }
    }
    more.extend([
        ("kept".to_owned(), kept.into()),
        ("keep_in_effect".to_owned(), mask.rate.keep_in_effect().into()),
    ]);
    let shape: Vec<String> = drawing.parts.shape.iter().map(usize::to_string).collect();
    let what = format!("mask {}, {}: {kept} kept", shape.join("×"), describe_keep(mask.rate));
    engine::finish(common, &drawing.device, &what, more)
}

fn count(bytes: &[u8]) -> u64 {
    bytes.iter().map(|&bit| u64::from(bit)).sum()
}

/// Masks of as many rows each, that follow one another: one mask, or one for each head.
#[derive(Debug)]
struct Parts {
    shape: Vec<usize>,
    mask: Mask,
    /// Place of the scores, and their number of heads, if each head has a mask of its own.
    heads: Option<(AttentionPlace, usize)>,
    /// Number of masks, rows of each, and columns.
    count: usize,
    rows: usize,
    cols: usize,
}

impl Parts {
    fn all_rows(&self) -> usize {
        self.count * self.rows
    }

    fn mask(&self, index: usize) -> Mask {
        self.heads.map_or(self.mask, |(place, heads)| {
            place.of_head(self.mask, index / heads, index % heads)
        })
    }
}

/// Returns the masks that the arguments ask for.
fn parts(args: &Args, mask: Mask) -> Result<Parts, Failure> {
    let Some(shape) = args.attention else {
        if let Some(flag) = args.scores.given() {
            return Err(Failure::usage(format!("{flag} belongs to --attention B,H,Q,K")));
        }
        let (rows, cols) = (args.rows.unwrap_or(0), args.cols.unwrap_or(0));
        mask.check(rows, cols).map_err(Failure::usage)?;
        return Ok(Parts { shape: vec![rows, cols], mask, heads: None, count: 1, rows, cols });
    };
    let place = args.scores.place(shape)?;
    let [batch, heads, queries, cols] = shape;
    // Scores without a row have no head to draw, however many they name.
    let count = if queries == 0 { 0 } else { elements("heads", batch, heads)? };
    elements("rows", count, queries)?;
    let shape = shape.to_vec();
    // One mask of the whole is drawn in larger pieces than one for each head.
    if place.is_whole([batch, heads, queries, cols]) && count > 0 {
        let mask = place.of_head(mask, 0, 0);
        return Ok(Parts { shape, mask, heads: None, count: 1, rows: count * queries, cols });
    }
    Ok(Parts { shape, mask, heads: Some((place, heads)), count, rows: queries, cols })
}

/// Masks, and the device that draws them.
struct Drawing {
    device: Device,
    parts: Parts,
}

impl Drawing {
    /// Returns the start and size of each piece of a mask, as `(row, col, rows, cols)`. Pieces
    /// are whole rows unless a row exceeds [`PIECE`].
    fn pieces(&self) -> impl Iterator<Item = (usize, usize, usize, usize)> + use<> {
        let (all_rows, all_cols) = (self.parts.rows, self.parts.cols);
        let cols = all_cols.clamp(1, PIECE);
        let rows = PIECE / cols;
        let starts =
            move |row: usize| (0..all_cols.max(1)).step_by(cols).map(move |col| (row, col));
        (0..all_rows)
            .step_by(rows)
            .flat_map(starts)
            .map(move |(row, col)| (row, col, rows.min(all_rows - row), cols.min(all_cols - col)))
    }

    /// Draws a piece on the device and returns its bytes, each 0 or 1.
    fn piece(
        &mut self,
        mask: Mask,
        row: usize,
        col: usize,
        rows: usize,
        cols: usize,
    ) -> wgpu_dropout::Result<Vec<u8>> {
        let mask = mask.at(mask.row_offset + row as u64, mask.col_offset + col as u64);
        match &mut self.device {
            Device::Gpu(gpu) => gpu.read_mask(mask, rows, cols),
            Device::Cpu(cpu) => cpu.read_mask(mask, rows, cols),
        }
    }

    /// Draws the whole mask and returns its bytes, each 0 or 1.
    fn bytes(&mut self) -> wgpu_dropout::Result<Vec<u8>> {
        let len = elements("mask", self.parts.all_rows(), self.parts.cols)?;
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(len).map_err(|_| Error::OutOfMemory { bytes: len as u64 })?;
        for index in 0..self.parts.count {
            let mask = self.parts.mask(index);
            for (row, col, rows, cols) in self.pieces() {
                bytes.extend(self.piece(mask, row, col, rows, cols)?);
            }
        }
        Ok(bytes)
    }

    /// Writes the mask as an array of the bytes 0 and 1, and returns the number of ones.
    fn npy(&mut self, out: &mut dyn Write) -> io::Result<u64> {
        let bytes = self.bytes().map_err(io::Error::other)?;
        npy::encode_u8(&self.parts.shape, &bytes, out)?;
        Ok(count(&bytes))
    }

    /// Writes a line of the characters 0 and 1 for each row, and returns the number of ones.
    fn lines(&mut self, out: &mut dyn Write) -> io::Result<u64> {
        let mut kept = 0;
        for index in 0..self.parts.count {
            let mask = self.parts.mask(index);
            for (row, col, rows, cols) in self.pieces() {
                let mut bits = self.piece(mask, row, col, rows, cols).map_err(io::Error::other)?;
                kept += count(&bits);
                bits.iter_mut().for_each(|bit| *bit += b'0');
                for row in 0..rows {
                    let end: &[u8] = if col + cols == self.parts.cols { b"\n" } else { b"" };
                    out.write_all(&bits[row * cols..][..cols])?;
                    out.write_all(end)?;
                }
            }
        }
        out.flush()?;
        Ok(kept)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wgpu_dropout::Cpu;
    use wgpu_dropout::{Key, Rate};

    fn pieces(rows: usize, cols: usize) -> Vec<(usize, usize, usize, usize)> {
        let mask = Mask::new(Rate::KEEP_ALL, Key::default());
        let shape = vec![rows, cols];
        let parts = Parts { shape, mask, heads: None, count: 1, rows, cols };
        Drawing { device: Device::Cpu(Cpu::new()), parts }.pieces().collect()
    }

    #[test]
    fn pieces_are_whole_rows_unless_a_row_is_too_long() {
        assert_eq!(pieces(3, 5), [(0, 0, 3, 5)]);
        assert_eq!(pieces(3, 0), [(0, 0, 3, 0)]);
        assert_eq!(pieces(0, 5), []);
        assert_eq!(
            pieces(5, PIECE / 2),
            [(0, 0, 2, PIECE / 2), (2, 0, 2, PIECE / 2), (4, 0, 1, PIECE / 2)]
        );
        assert_eq!(
            pieces(2, PIECE + 1),
            [(0, 0, 1, PIECE), (0, PIECE, 1, 1), (1, 0, 1, PIECE), (1, PIECE, 1, 1)]
        );
    }
}
