//! Plans of dropout's other forms: `dropout_broadcast`, `dropout_bits`, `alpha_dropout`,
//! `gaussian_dropout`; and of `mask_bytes`.

use super::strips::{Beside, Strips};
use super::{Dispatch, Operand, Planner, check_operands, read, windows, write};
use crate::call::{
    AlphaDropoutCall, DropoutBits, DropoutBroadcast, GaussianDropoutCall, MaskBytes,
};
use crate::gpu::params::Params;
use crate::gpu::stem::Stem;
use crate::gpu::variant::Variant;
use crate::gpu::view::View;
use crate::mask::GROUP;
use crate::{Dropout, Error, Result};

/// Columns of a mask as bytes: they and the bytes of a binding are counted in one 32-bit number.
const MOST_COLUMNS: usize = 1 << 30;

impl Planner {
    pub(in crate::gpu) fn dropout_broadcast<'a>(
        &self,
        call: &DropoutBroadcast<'_, View<'a>>,
    ) -> Result<Vec<Dispatch<'a>>> {
        call.check()?;
        let strips = *call.axes.strips();
        let (bound, rows) = (u64::from(u32::MAX), strips.rows as u64);
        if rows > bound {
            return Err(Error::TooLarge {
                what: "strips of a broadcast mask".to_owned(),
                value: rows,
                bound,
            });
        }
        let [first, second, third] = strips.runs;
        let params = |row: usize, col: usize| {
            Params {
                count: row as u32,
                size_1: second.size as u32,
                size_2: third.size as u32,
                row_0: first.row as u32,
                row_1: second.row as u32,
                row_2: third.row as u32,
                col_0: first.col as u32,
                col_1: second.col as u32,
                col_2: third.col as u32,
                ..Params::default()
            }
            .with_dropout(&call.dropout, 0, if strips.along { col } else { 0 })
        };
        let whole_groups = strips.runs.iter().all(|run| (run.col as u64).is_multiple_of(GROUP));
        let variant = Variant {
            aligned: strips.along && whole_groups,
            one_draw: !strips.along,
            ..Variant::new(Stem::DropoutBroadcast)
        };
        for (view, tensor) in [(call.x, "x"), (&*call.y, "y")] {
            view.check("dropout_broadcast", tensor, 4)?;
            view.check_packed("dropout_broadcast", tensor)?;
        }
        let matrix = |view: View<'a>| View {
            rows: strips.rows,
            cols: strips.cols,
            stride: strips.cols,
            ..view
        };
        self.strips(&Strips {
            variant,
            x: matrix(*call.x),
            beside: None,
            y: matrix(*call.y),
            params: &params,
        })
    }

    pub(in crate::gpu) fn dropout_bits<'a>(
        &self,
        call: &DropoutBits<'_, View<'a>, View<'a>>,
    ) -> Result<Vec<Dispatch<'a>>> {
        call.check()?;
        let params = |_, _| Params { scale: call.scale, ..Params::default() };
        let variant = Variant::new(Stem::DropoutBits);
        self.strips(&Strips {
            variant,
            x: *call.x,
            beside: Some(Beside::Bits(*call.bits)),
            y: *call.y,
            params: &params,
        })
    }

    pub(in crate::gpu) fn alpha_dropout<'a>(
        &self,
        call: &AlphaDropoutCall<'_, View<'a>>,
    ) -> Result<Vec<Dispatch<'a>>> {
        call.check()?;
        let site = &call.dropout;
        if site.is_identity() && !self.state {
            return self.same(Stem::AlphaDropout, *call.x, *call.y);
        }
        let params =
            |row, col| {
                Params { shift: site.shift, dropped: site.dropped, ..Params::default() }
                    .with_dropout(&site.backward(), row, col)
            };
        let variant = Variant { aligned: true, ..Variant::new(Stem::AlphaDropout) };
        self.strips(&Strips { variant, x: *call.x, beside: None, y: *call.y, params: &params })
    }

    pub(in crate::gpu) fn gaussian_dropout<'a>(
        &self,
        call: &GaussianDropoutCall<'_, View<'a>>,
    ) -> Result<Vec<Dispatch<'a>>> {
        call.check()?;
        let site = &call.dropout;
        if site.is_identity() && !self.state {
            return self.same(Stem::GaussianDropout, *call.x, *call.y);
        }
        let noise = Dropout { mask: *site.mask(), scale: site.scale() };
        let params = |row, col| Params::default().with_dropout(&noise, row, col);
        let variant = Variant { aligned: true, ..Variant::new(Stem::GaussianDropout) };
        self.strips(&Strips { variant, x: *call.x, beside: None, y: *call.y, params: &params })
    }

    /// What a kernel that changes nothing does.
    fn same<'a>(&self, stem: Stem, x: View<'a>, y: View<'a>) -> Result<Vec<Dispatch<'a>>> {
        if x.is_same(&y) {
            return check_operands(stem.name(), 4, &[write("y", y)]).map(|()| Vec::new());
        }
        check_operands(stem.name(), 4, &[read("x", x), write("y", y)])?;
        self.copy(x, y)
    }

    pub(in crate::gpu) fn mask_bytes<'a>(
        &self,
        call: &MaskBytes<'_, View<'a>>,
    ) -> Result<Vec<Dispatch<'a>>> {
        call.check()?;
        let bytes = *call.bytes;
        let operand = Operand { element: Some(1), ..write("bytes", bytes).packed() };
        check_operands("mask_bytes", 4, &[operand])?;
        if bytes.cols > MOST_COLUMNS {
            let what = "columns of a mask as bytes".to_owned();
            return Err(Error::TooLarge {
                what,
                value: bytes.cols as u64,
                bound: MOST_COLUMNS as u64,
            });
        }
        let mut plan = Vec::new();
        // Words reach over the ends of rows: windows are of so many elements, wherever rows end.
        let most = self.rows_per_binding("bytes", 1, 1)? / 8 * 8;
        for (from, count) in windows(bytes.rows * bytes.cols, most) {
            let window = self.window(
                View {
                    offset: bytes.offset + from as u64,
                    rows: 1,
                    cols: count,
                    stride: count,
                    ..bytes
                },
                1,
                0,
                1,
            );
            let first = from % bytes.cols;
            let params = Params {
                cols: bytes.cols as u32,
                a_start: window.start,
                first: first as u32,
                count: (first + count) as u32,
                ..Params::default()
            }
            .with_mask(&call.mask, from / bytes.cols, 0);
            plan.extend(self.dispatch(
                Variant::new(Stem::MaskBytes),
                &[window],
                params,
                count.div_ceil(8 * 64) as u64,
            )?);
        }
        Ok(plan)
    }
}
