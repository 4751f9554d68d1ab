//! Tensors stored as f16, which the kernels accept in a caller's buffers: dropout, and a layer's
//! forward and backward pass, against the f64 oracle with one rounding to f16 at the end.

use super::check::{Check, Tally, same_bits};
use super::form::{self, Form, submit};
use super::layer::{Layer, Results};
use super::random::Cases;
use super::variants::divides_so;
use crate::call::{CopyCall, DropoutCall, GradInput, GradWeight, LinearForward};
use crate::gpu::{Gpu, GpuTensor, Variant, View};
use crate::{Backend, Dropout, Key, Mask, Mode, Rate, Result};
use half::f16;

/// Shapes `[B, I, O]`: ragged, whole vectors, and split sums, forward and backward.
const SHAPES: [[usize; 3]; 6] =
    [[9, 13, 29], [33, 68, 132], [3, 517, 9], [5, 520, 12], [4, 9, 517], [3, 12, 520]];

/// Checks f16 in the forms that are not weak: in all of them if `every_form`, otherwise only in the
/// first, the device's own. Returns `None` if the device has no f16.
pub(super) fn against_oracle(
    forms: &mut [Form<Gpu>],
    seed: u64,
    every_form: bool,
) -> Result<Option<Check>> {
    if !forms.iter().all(|form| form.backend.kernels().planner().half) {
        return Ok(None);
    }
    let mut tally = Tally::new("f16: dropout, copy, matrix products");
    let mut cases = Cases::new(seed, 9);
    let mut on_matrices =
        forms.first().filter(|_| every_form).and_then(|form| form::on_matrices(&form.backend));
    let whole = forms.iter_mut().filter(|form| !form.weak);
    for form in whole.take(if every_form { usize::MAX } else { 1 }).chain(&mut on_matrices) {
        elementwise(form, &mut cases, &mut tally)?;
        layers(form, &mut cases, &mut tally)?;
        variants(form, &mut tally);
    }
    Ok(Some(tally.finish("within one rounding to f16 of the bound")))
}

/// Checks dropout and copy over several rows and one; in vectors of eight, in vectors of four, and
/// ragged; aligned to a group of draws and unaligned.
fn elementwise(form: &mut Form<Gpu>, cases: &mut Cases, tally: &mut Tally) -> Result<()> {
    for [rows, cols] in [5, 1].into_iter().flat_map(|rows| [64, 44, 37].map(|cols| [rows, cols])) {
        for col in [0, 3] {
            let (values, site) = (noise(cases, rows * cols), site(cases.key(), col)?);
            let gpu = &mut form.backend;
            let (x, copied, dropped) =
                (upload(gpu, &values)?, poisoned(gpu, rows * cols)?, poisoned(gpu, rows * cols)?);
            gpu.wait()?;
            let view = |tensor| half_view(tensor, [rows, cols]);
            let (kernels, source) = (gpu.kernels(), view(&x));
            let copy = kernels.prepare(&CopyCall { x: source, y: view(&copied) })?;
            let drop =
                kernels.prepare(&DropoutCall { x: source, y: view(&dropped), dropout: site })?;
            submit(gpu, &[copy, drop]);
            let kept = site.mask.bytes(rows, cols)?;
            let right: Vec<f32> = values
                .iter()
                .zip(&kept)
                .map(|(x, &kept)| if kept == 1 { 2.0 * x } else { 0.0 })
                .collect();
            for (what, tensor, right) in [("copy", &copied, &values), ("dropout", &dropped, &right)]
            {
                let got = download(&mut form.backend, tensor, rows * cols)?;
                let what = format!("{}: {what} of f16, {rows}×{cols} from column {col}", form.name);
                tally.case(same_bits(&what, &got, right).err());
            }
        }
    }
    Ok(())
}

fn layers(form: &mut Form<Gpu>, cases: &mut Cases, tally: &mut Tally) -> Result<()> {
    for shape in SHAPES {
        for (relu, dropout) in
            [(false, Dropout::NONE), (false, site(cases.key(), 5)?), (true, site(cases.key(), 5)?)]
        {
            let layer = Layer::new(cases, noise, shape, relu, dropout);
            let got = run(&mut form.backend, &layer)?;
            for (exact, got) in layer.exact(&got) {
                let outcome = exact.check_half(&layer.name(), got);
                tally.compare(outcome.map_err(|error| format!("{}: f16, {error}", form.name)));
            }
        }
    }
    Ok(())
}

/// Checks that each variant that the form can compile was run, if it has one tile.
fn variants(form: &Form<Gpu>, tally: &mut Tally) {
    let (kernels, compiled) = (form.backend.kernels(), form.backend.kernels().compiled());
    let planner = kernels.planner();
    for variant in Variant::all_half() {
        if divides_so(planner, &variant) {
            let name = Variant { int64: planner.int64, ..variant }.name();
            tally.case(
                (!compiled.contains(&name)).then(|| format!("{}: {name} was never run", form.name)),
            );
        }
    }
}

/// Returns inverted dropout of half of the elements, starting at column `col`. Its scale is 2,
/// which is exact.
fn site(key: Key, col: u64) -> Result<Dropout> {
    Ok(Dropout::train(Mode::Inverted, Mask::new(Rate::keep(0.5)?, key).at(3, col)))
}

fn run(gpu: &mut Gpu, layer: &Layer) -> Result<Results> {
    let [batch, inputs, outputs] = layer.shape;
    let (x, weight, dy) =
        (upload(gpu, &layer.x)?, upload(gpu, &layer.weight)?, upload(gpu, &layer.grad_output)?);
    let bias = layer.bias.as_ref().map(|bias| upload(gpu, bias)).transpose()?;
    let (y, dx) = (poisoned(gpu, batch * outputs)?, poisoned(gpu, batch * inputs)?);
    let (dw, db) = (poisoned(gpu, inputs * outputs)?, poisoned(gpu, outputs)?);
    gpu.wait()?;
    let (kernels, relu, dropout) = (gpu.kernels(), layer.relu, layer.dropout);
    let (x_view, weight) = (half_view(&x, [batch, inputs]), half_view(&weight, [inputs, outputs]));
    let (y_view, bias) =
        (half_view(&y, [batch, outputs]), bias.as_ref().map(|bias| half_view(bias, [1, outputs])));
    let forward =
        kernels.prepare(&LinearForward { x: x_view, weight, bias, y: y_view, relu, dropout })?;
    let (output, grad_output) = (relu.then_some(y_view), half_view(&dy, [batch, outputs]));
    let (grad_input, through) =
        (half_view(&dx, [batch, inputs]), layer.through.map(|scale| (x_view, scale)));
    let backward = kernels.prepare(&GradInput {
        grad_output,
        output,
        weight,
        grad_input,
        dropout,
        through,
    })?;
    let (grad_weight, grad_bias) =
        (half_view(&dw, [inputs, outputs]), half_view(&db, [1, outputs]));
    let outer = kernels.prepare(&GradWeight {
        x: x_view,
        grad_output,
        output,
        grad_weight,
        grad_bias,
        dropout,
    })?;
    submit(gpu, &[forward, backward, outer]);
    Ok(Results {
        y: download(gpu, &y, batch * outputs)?,
        dx: download(gpu, &dx, batch * inputs)?,
        dw: download(gpu, &dw, inputs * outputs)?,
        db: download(gpu, &db, outputs)?,
    })
}

/// Returns random numbers that f16 represents exactly.
fn noise(cases: &mut Cases, count: usize) -> Vec<f32> {
    cases.noise(count).into_iter().map(|x| f16::from_f32(x).to_f32()).collect()
}

/// Uploads the numbers as f16, two per u32 word. The tensor's type only provides the storage.
fn upload(gpu: &mut Gpu, values: &[f32]) -> Result<GpuTensor<u32>> {
    let bits = |x: Option<&f32>| u32::from(x.map_or(f16::NAN, |&x| f16::from_f32(x)).to_bits());
    let words: Vec<u32> =
        values.chunks(2).map(|pair| bits(pair.first()) | bits(pair.get(1)) << 16).collect();
    gpu.tensor(1, words.len(), &words)
}

fn poisoned(gpu: &mut Gpu, count: usize) -> Result<GpuTensor<u32>> {
    upload(gpu, &vec![f32::NAN; count])
}

fn download(gpu: &mut Gpu, tensor: &GpuTensor<u32>, count: usize) -> Result<Vec<f32>> {
    let words = gpu.read(tensor)?;
    let halves = words.into_iter().flat_map(|word| [word as u16, (word >> 16) as u16]);
    Ok(halves.map(|bits| f16::from_bits(bits).to_f32()).take(count).collect())
}

fn half_view(tensor: &GpuTensor<u32>, [rows, cols]: [usize; 2]) -> View<'_> {
    View::new(tensor.view().buffer, rows, cols).half()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::{AdapterChoice, Planner, Tile, Tiles};

    #[test]
    fn every_form_of_a_kernel_of_strips_is_run() {
        let Ok(gpu) = Gpu::open(&AdapterChoice::Best) else {
            return eprintln!("SKIPPED: no adapter");
        };
        if !gpu.kernels().planner().half {
            return eprintln!("SKIPPED: no f16");
        }
        for wide in [true, false] {
            let tiles = Tiles::all(if wide { Tile::Register } else { Tile::Workgroup });
            let kernels =
                gpu.kernels().replanned(|planner| Planner { tiles, wide, ..planner }).unwrap();
            let mut form = Form {
                name: format!("wide {wide}"),
                backend: gpu.with_kernels(kernels),
                attention: false,
                weak: false,
            };
            let mut tally = Tally::new("");
            elementwise(&mut form, &mut Cases::new(1, 9), &mut tally).unwrap();
            assert_eq!(tally.finish("").differences, 0);
            let (planner, compiled) =
                (*form.backend.kernels().planner(), form.backend.kernels().compiled());
            for variant in Variant::all_half()
                .iter()
                .filter(|variant| variant.stem.is_strips() && divides_so(&planner, variant))
            {
                let name = Variant { int64: planner.int64, ..*variant }.name();
                assert!(compiled.contains(&name), "{name} was not run");
            }
        }
    }
}
