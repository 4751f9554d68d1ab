//! The call of `grad_input`.

use super::{Call, DevicePlace, HostPlace, Place, check_dropout, check_through, through_flag};
use crate::cpu::{fast, fast::Isa, reference};
use crate::plan::{
    FIRST, Params, Plan, Planner, Stem, Variant, View, Work, own, product_own, read, scratch,
    windows, write,
};
use crate::rules::range::range;
use crate::shape::{Matrix, expect};
use crate::{Dropout, Result, order};

/// Gradient of a layer's input: `dX = dZ·Wᵀ`.
///
/// After ReLU, `dZ = dY·s` where `Y > 0`, else 0. Without ReLU, `dZ = M·s·dY`.
///
/// In a chain of layers, `X` is the output of the previous layer, whose own backward pass needs its
/// `dZ` rather than its `dY`. With [`through`](Self::through) the kernel writes that `dZ`: `dX·s`
/// where `X > 0`, else 0. The previous layer's calls then take `output: None` and
/// [`Dropout::NONE`]:
///
/// ```
/// use wgpu_dropout::call::{GradInput, GradWeight, LinearForward};
/// use wgpu_dropout::{Backend, Cpu, Dropout, Key, Mask, Mode, Rate};
///
/// // H = dropout(relu(X·V + a)), then Y = H·W + b.
/// let mut cpu = Cpu::new();
/// let x = cpu.tensor(2, 3, &[1.0; 6])?;
/// let (v, a) = (cpu.tensor(3, 4, &[0.5; 12])?, cpu.zeros(1, 4)?);
/// let (w, dy) = (cpu.tensor(4, 1, &[1.0; 4])?, cpu.tensor(2, 1, &[1.0, 2.0])?);
/// let mask = Mask::new(Rate::drop(0.5)?, Key { seed: 42, layer: 1, step: 0 });
/// let dropout = Dropout::train(Mode::Inverted, mask);
/// let mut h = cpu.zeros(2, 4)?;
/// cpu.run(LinearForward { x: &x, weight: &v, bias: Some(&a), y: &mut h, relu: true, dropout })?;
///
/// // Through H: what arrives is the first layer's dZ, so that its own calls drop nothing.
/// let mut dz = cpu.zeros(2, 4)?;
/// cpu.run(GradInput {
///     grad_output: &dy,
///     output: None,
///     weight: &w,
///     grad_input: &mut dz,
///     dropout: Dropout::NONE,
///     through: Some((&h, dropout.scale)),
/// })?;
/// let (mut dv, mut da) = (cpu.zeros(3, 4)?, cpu.zeros(1, 4)?);
/// cpu.run(GradWeight {
///     x: &x,
///     grad_output: &dz,
///     output: None,
///     grad_weight: &mut dv,
///     grad_bias: &mut da,
///     dropout: Dropout::NONE,
/// })?;
/// assert!(cpu.read(&dz)?.iter().zip(cpu.read(&h)?).all(|(dz, h)| (*dz != 0.0) == (h > 0.0)));
/// # Ok::<(), wgpu_dropout::Error>(())
/// ```
///
/// Source: the chain rule; CS231n notes, "backprop".
pub struct GradInput<P: Place> {
    /// `dY [B, O]`
    pub grad_output: P::In<f32>,
    /// `Y [B, O]`, as the forward pass wrote it, if ReLU preceded the dropout; `None` without
    /// ReLU.
    pub output: Option<P::In<f32>>,
    /// `W [I, O]`
    pub weight: P::In<f32>,
    /// `dX [B, I]`, written.
    pub grad_input: P::Out<f32>,
    /// Mask and scale of the forward pass.
    pub dropout: Dropout,
    /// `X [B, I]` and its dropout's scale `s`, if `X` is the output of ReLU and dropout and the
    /// gradient is to pass back through both.
    #[doc = concat!("The scale is ", range!(SCALE), ".")]
    pub through: Option<(P::In<f32>, f32)>,
}

own! {
    /// Own words of `grad_input`.
    GradInputOwn {
        inner: u32,
        terms: u32,
        flags: u32,
        through_scale: f32,
    }
}
product_own!(GradInputOwn);

/// The call as the planner takes it. A tensor that the call lacks is never read, but needs
/// something to be bound: `dY`.
struct Backward<'a> {
    dy: View<'a>,
    y: View<'a>,
    weight: View<'a>,
    dx: View<'a>,
    x: View<'a>,
    through: Option<f32>,
    variant: Variant,
    dropout: Dropout,
}

impl<P: Place> Call<P> for GradInput<P> {
    fn check(&self) -> Result<()> {
        let kernel = "grad_input";
        let (batch, outputs) = (self.grad_output.rows(), self.grad_output.cols());
        let inputs = self.weight.rows();
        expect(kernel, "weight", &self.weight, inputs, outputs)?;
        self.output.as_ref().map_or(Ok(()), |y| expect(kernel, "output", y, batch, outputs))?;
        expect(kernel, "grad_input", &self.grad_input, batch, inputs)?;
        let through = self.through.as_ref();
        check_through(through.map(|(_, scale)| *scale))?;
        through.map_or(Ok(()), |(x, _)| expect(kernel, "through", x, batch, inputs))?;
        check_dropout(&self.dropout, batch, outputs)
    }

    fn plan<'p>(&'p self, planner: &Planner) -> Result<Plan<'p>>
    where
        P: DevicePlace,
    {
        self.check()?;
        let stem = Stem::GradInput;
        let dy = P::read(&self.grad_output);
        let gate = planner.gate(self.output.is_some(), &self.dropout);
        let call = Backward {
            dy,
            y: self.output.as_ref().map_or(dy, P::read),
            weight: P::read(&self.weight),
            dx: P::written(&self.grad_input),
            x: self.through.as_ref().map_or(dy, |(x, _)| P::read(x)),
            through: self.through.as_ref().map(|(_, scale)| *scale),
            variant: Variant::new(stem).with("GATE", gate),
            dropout: self.dropout,
        };
        let element = planner.check_numbers(
            stem,
            &[
                read("grad_output", dy),
                read("output", call.y),
                read("weight", call.weight),
                read("through", call.x),
                write("grad_input", call.dx),
            ],
        )?;
        // If not all can be bound at once, the epilogue is a dispatch of its own, as after a
        // split sum.
        let variant = planner.bindable(Variant { half: element == 2, ..call.variant });
        let call = Backward { variant, ..call };
        let few = variant.is("BOUND", "few") && call.through.is_some();
        let (rows, cols, inner) = (call.dx.rows, call.weight.rows, dy.cols);
        match order::part(rows, cols, inner).or(few.then_some(inner.max(1))) {
            Some(part) => call.split(planner, part),
            None => call.whole(planner, element),
        }
    }

    fn compute(mut self, isa: Option<Isa>)
    where
        P: HostPlace,
    {
        let shape = [self.weight.rows(), self.weight.cols()];
        let dz = fast::Gradient {
            grad_output: P::values(&self.grad_output),
            output: self.output.as_ref().map(P::values),
            dropout: &self.dropout,
        };
        let (weight, dx) = (P::values(&self.weight), P::values_mut(&mut self.grad_input));
        let through = self.through.as_ref().map(|(x, scale)| (P::values(x), *scale));
        match isa {
            Some(isa) => fast::grad_input(isa, dz, weight, dx, shape, through),
            None => {
                let dz = reference::gradient(dz.grad_output, dz.output, shape[1], &self.dropout);
                reference::grad_input(&dz, weight, dx, shape, through);
            }
        }
    }
}

impl<'a> Backward<'a> {
    /// The row strides of all tensors whose rows are the batch's.
    fn strides(&self) -> [(&'static str, usize); 4] {
        [
            ("grad_output", self.dy.stride),
            ("output", self.y.stride),
            ("through", self.x.stride),
            ("grad_input", self.dx.stride),
        ]
    }

    /// Plans sums that are each one chain.
    fn whole(&self, planner: &Planner, element: u64) -> Result<Plan<'a>> {
        let (inner, cols) = (self.dy.cols, self.weight.rows);
        let part = planner.common_rows(cols, &[("weight", self.weight.stride)], element)?;
        let part = if part < cols { (part / 64 * 64).max(1) } else { part };
        let rows = planner
            .common_rows(self.dx.rows, &self.strides(), element)?
            .min(planner.rows_per_budget(part, inner));
        let own = GradInputOwn {
            inner: inner as u32,
            terms: 0,
            flags: through_flag(&self.through),
            through_scale: self.through.unwrap_or(0.0),
        };
        let mut plan = Vec::new();
        for (m, rows) in windows(self.dx.rows, rows) {
            for (n, cols) in windows(cols, part) {
                let w = planner.window(self.weight, element, n, cols);
                let window = |view| planner.window(view, element, m, rows);
                let [dy, y] = [self.dy, self.y].map(window);
                let [dx, x] = [self.dx, self.x].map(|view| window(view).after_col(n));
                let tensors = &[w, dy, y, dx, x];
                let params = Params::of(rows, cols).with_dropout(&self.dropout, m, 0);
                let work = Work { variant: self.variant, tensors, params, own, loops: 0 };
                plan.extend(planner.product(work, tensors)?);
            }
        }
        Ok(plan)
    }

    /// Plans sums cut in parts of `part` terms. A row of the weights fits a binding.
    fn split(&self, planner: &Planner, part: usize) -> Result<Plan<'a>> {
        let element = self.weight.number();
        let (inner, all_cols) = (self.dy.cols, self.weight.rows);
        let parts = inner.div_ceil(part).max(1);
        let cols = planner.common_rows(all_cols, &[("weight", self.weight.stride)], element)?;
        let rows = planner.common_rows(self.dx.rows, &self.strides(), element)?;
        let (rows, cols) = planner.split_block(rows, cols, inner, parts);
        let variant = self.variant.with("PART", "yes");
        let of_parts = GradInputOwn {
            inner: inner as u32,
            terms: part as u32,
            flags: FIRST,
            through_scale: 0.0,
        };
        let joined = GradInputOwn {
            inner: parts as u32,
            terms: 0,
            flags: through_flag(&self.through),
            through_scale: self.through.unwrap_or(0.0),
        };
        let mut plan = Vec::new();
        for (m, rows) in windows(self.dx.rows, rows) {
            for (n, cols) in windows(all_cols, cols) {
                let w = planner.window(self.weight, element, n, cols);
                let window = |view| planner.window(view, element, m, rows);
                let [dy, y] = [self.dy, self.y].map(window);
                let [dx, x] = [self.dx, self.x].map(|view| window(view).after_col(n));
                let scratch = scratch(parts * rows, cols);
                let params = Params::of(rows, cols);
                let work = Work {
                    variant,
                    tensors: &[w, dy, y, scratch, x],
                    params: params.with_dropout(&self.dropout, m, 0),
                    own: of_parts,
                    loops: 0,
                };
                plan.extend(planner.product(work, &[w, dy, y, scratch])?);
                let wide = [scratch, dx, x];
                let wide = if self.through.is_some() { &wide[..] } else { &wide[..2] };
                let params = params.with_dropout(&Dropout::NONE, 0, 0);
                let tensors = &[scratch, dy, y, dx, x];
                plan.extend(planner.join(Stem::GradInput, (tensors, wide), params, joined)?);
            }
        }
        Ok(plan)
    }
}
