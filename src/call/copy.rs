//! The call of `copy`.

use super::{Call, DevicePlace, HostPlace, Place};
use crate::Result;
use crate::cpu::{fast, fast::Isa};
use crate::plan::{
    Params, PlainStrips, Plan, Planner, Stem, Strips, Variant, View, check_tensors, read, write,
};
use crate::shape::{Matrix, expect};

/// `y = x`: the ceiling of every kernel that reads and writes each element once, such as
/// [`DropoutCall`](super::DropoutCall).
pub struct CopyCall<P: Place> {
    /// Input, any shape.
    pub x: P::In<f32>,
    /// Output, the input's shape.
    pub y: P::Out<f32>,
}

impl<P: Place> Call<P> for CopyCall<P> {
    fn check(&self) -> Result<()> {
        expect("copy", "y", &self.y, self.x.rows(), self.x.cols())
    }

    fn plan<'p>(&'p self, planner: &Planner) -> Result<Plan<'p>>
    where
        P: DevicePlace,
    {
        self.check()?;
        plan(planner, P::read(&self.x), P::written(&self.y))
    }

    fn compute(mut self, isa: Option<Isa>)
    where
        P: HostPlace,
    {
        let (x, y) = (P::values(&self.x), P::values_mut(&mut self.y));
        match isa {
            Some(_) => fast::copy(x, y),
            None => y.copy_from_slice(x),
        }
    }
}

/// Plans a copy between tensors of one shape.
pub(super) fn plan<'a>(planner: &Planner, x: View<'a>, y: View<'a>) -> Result<Plan<'a>> {
    planner.strips(&Strips {
        variant: Variant::new(Stem::Copy),
        x,
        beside: None,
        y,
        params: &|_, _| (Params::default(), PlainStrips::default()),
    })
}

/// Plans a kernel that changes nothing: a copy, or no dispatch in place.
pub(super) fn identity<'a>(
    planner: &Planner,
    stem: Stem,
    x: View<'a>,
    y: View<'a>,
) -> Result<Plan<'a>> {
    if x.is_same(&y) {
        return check_tensors(stem, &[write("y", y)]).map(|()| Vec::new());
    }
    check_tensors(stem, &[read("x", x), write("y", y)])?;
    plan(planner, x, y)
}
