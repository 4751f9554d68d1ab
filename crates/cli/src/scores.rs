//! Place of attention scores on the command line.

use crate::args::integer;
use crate::failure::Failure;
use wgpu_dropout::AttentionPlace;

/// Place of attention scores `[B, H, Q, K]` in those of the whole.
#[derive(Debug, clap::Args)]
pub struct ScoresArgs {
    /// First sequence of the scores in the whole, decimal or 0x [default: 0]
    #[arg(long, value_parser = integer::<u64>, allow_negative_numbers = true)]
    sequence_offset: Option<u64>,
    /// First query head of the scores in the whole, decimal or 0x [default: 0]
    #[arg(long, value_parser = integer::<u64>, allow_negative_numbers = true)]
    head_offset: Option<u64>,
    /// Query heads of the whole [default: --head-offset and those of the scores]
    #[arg(long, value_parser = integer::<u64>, allow_negative_numbers = true)]
    heads: Option<u64>,
    /// Position of the first query in its sequence, decimal or 0x [default: 0]
    #[arg(long, value_parser = integer::<u64>, allow_negative_numbers = true)]
    query_offset: Option<u64>,
    /// Position of the first key in its sequence, decimal or 0x [default: 0]
    #[arg(long, value_parser = integer::<u64>, allow_negative_numbers = true)]
    key_offset: Option<u64>,
    /// Rows of the mask for each head of a sequence [default: --query-offset and the queries of the
    /// scores]
    #[arg(long, value_parser = integer::<u64>, allow_negative_numbers = true)]
    pitch: Option<u64>,
}

impl ScoresArgs {
    /// Returns the name of the first flag that is given.
    pub fn given(&self) -> Option<&'static str> {
        [
            ("--sequence-offset", self.sequence_offset),
            ("--head-offset", self.head_offset),
            ("--heads", self.heads),
            ("--query-offset", self.query_offset),
            ("--key-offset", self.key_offset),
            ("--pitch", self.pitch),
        ]
        .into_iter()
        .find_map(|(name, value)| value.map(|_| name))
    }

    /// Returns the place of scores `[B, H, Q, K]`, which must lie in the whole.
    pub fn place(&self, shape: [usize; 4]) -> Result<AttentionPlace, Failure> {
        let [_, heads, queries, _] = shape.map(|size| size as u64);
        let head = self.head_offset.unwrap_or(0);
        let query = self.query_offset.unwrap_or(0);
        let place = AttentionPlace {
            sequence: self.sequence_offset.unwrap_or(0),
            head,
            heads: self.heads.unwrap_or(head.saturating_add(heads)),
            query,
            key: self.key_offset.unwrap_or(0),
            pitch: self.pitch.unwrap_or(query.saturating_add(queries)),
        };
        place.check(shape).map_err(Failure::usage)?;
        Ok(place)
    }
}

/// Parses the shape of scores: four sizes, separated by commas.
pub fn shape(text: &str) -> Result<[usize; 4], String> {
    let sizes: Vec<usize> =
        text.split(',').map(|size| integer(size.trim())).collect::<Result<_, _>>()?;
    sizes.try_into().map_err(|sizes: Vec<usize>| {
        format!("{} sizes: must be B,H,Q,K, for example 2,3,5,37", sizes.len())
    })
}
