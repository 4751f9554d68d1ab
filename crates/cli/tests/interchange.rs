//! Import and export of weights: a file from PyTorch, files for PyTorch and Burn, and the files and
//! names that are refused.

mod cli;
#[path = "../../../tests/common/mod.rs"]
mod common;
#[path = "interchange/convert.rs"]
mod convert;

use cli::{files, refuse, run_in, succeed, succeed_quietly};
use common::{Form, lend};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use wgpu_dropout::Backend;
use wgpu_dropout::Cpu;
use wgpu_dropout::mlp::{Architecture, Interchange, Layout, Mlp, Training};
use wgpu_dropout::{Error, Mode, Rate};
use wgpu_dropout_cli::npy;

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

fn architecture(inputs: usize, hidden: &[usize], classes: usize) -> Architecture {
    let (rate, input_rate) = (Rate::drop(0.5).unwrap(), Rate::KEEP_ALL);
    Architecture {
        inputs,
        hidden: hidden.to_vec(),
        classes,
        mode: Mode::Inverted,
        rate,
        input_rate,
        seed: 5,
    }
}

fn form(layout: Layout, layers: &[&str]) -> Interchange {
    Interchange {
        layout,
        layers: (!layers.is_empty()).then(|| layers.iter().map(|&name| name.to_owned()).collect()),
    }
}

/// Tensor of zeros: its name, type and shape.
type Zeros<'a> = (&'a str, Dtype, &'a [usize]);

/// Writes a safetensors file.
fn write(path: &Path, tensors: &[Zeros<'_>]) {
    let bytes: Vec<Vec<u8>> = tensors
        .iter()
        .map(|(_, dtype, shape)| vec![0; shape.iter().product::<usize>() * dtype.bitsize() / 8])
        .collect();
    let views = tensors.iter().zip(&bytes).map(|((name, dtype, shape), bytes)| {
        (*name, TensorView::new(*dtype, shape.to_vec(), bytes).unwrap())
    });
    std::fs::write(path, safetensors::serialize(views, None).unwrap()).unwrap();
}

#[test]
fn a_network_of_pytorch_predicts_what_pytorch_predicts() {
    fn check<B: Backend>(backend: B) -> B {
        let mut net = Mlp::new(backend, architecture(4, &[6, 5], 3)).unwrap();
        let x = npy::read(&data("pytorch_x.npy")).unwrap().values;
        let right = npy::read(&data("pytorch_p.npy")).unwrap().values;
        let off =
            |p: Vec<f32>| p.iter().zip(&right).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(
            off(net.predict(&x).unwrap()) > 1e-2,
            "control: other weights must predict something else"
        );
        net.import(&data("pytorch.safetensors"), &Interchange::default()).unwrap();
        let distance = off(net.predict(&x).unwrap());
        assert!(distance <= 2e-6, "{}: {distance:e}", net.backend().name());
        // Without the transposition, a file of square weights would load as another network.
        let (weight, _) = net.parameters(0).unwrap().unwrap();
        let bytes = std::fs::read(data("pytorch.safetensors")).unwrap();
        let tensors = SafeTensors::deserialize(&bytes).unwrap();
        let theirs: Vec<f32> =
            bytemuck::pod_collect_to_vec(tensors.tensor("0.weight").unwrap().data());
        assert!((0..4).all(|i| (0..6).all(|o| weight[i * 6 + o] == theirs[o * 4 + i])));
        assert_ne!(weight, theirs);
        net.into_backend()
    }
    check(Cpu::new());
    lend(Form::Usual, check);
}

#[test]
fn what_is_exported_comes_back_to_the_bit() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("w");
    let mut net = Mlp::new(Cpu::new(), architecture(7, &[9, 9], 4)).unwrap();
    net.train_step(&common::noise(1, 35), &[0, 1, 2, 3, 0], &Training::default()).unwrap();
    let parameters = |net: &mut Mlp<Cpu>| {
        (0..3).map(|i| net.parameters(i).unwrap().unwrap()).collect::<Vec<_>>()
    };
    let own = parameters(&mut net);
    for (layout, shape) in [(Layout::PyTorch, [9, 7]), (Layout::Burn, [7, 9])] {
        for names in [&[][..], &["fc1", "fc2", "out"]] {
            net.export(&path, &form(layout, names)).unwrap();
            let bytes = std::fs::read(&path).unwrap();
            let tensors = SafeTensors::deserialize(&bytes).unwrap();
            let first = if names.is_empty() { "layers.0" } else { "fc1" };
            assert_eq!(tensors.tensor(&format!("{first}.weight")).unwrap().shape(), shape);
            assert_eq!(tensors.len(), 6, "only weights and biases may be exported");
            let metadata = SafeTensors::read_metadata(&bytes).unwrap().1.metadata().clone();
            let format = metadata.and_then(|metadata| metadata.get("format").cloned());
            assert_eq!(
                format.as_deref(),
                (layout == Layout::PyTorch).then_some("pt"),
                "PyTorch's readers look for this key"
            );
            let mut other =
                Mlp::new(Cpu::new(), Architecture { seed: 6, ..architecture(7, &[9, 9], 4) })
                    .unwrap();
            assert_ne!(parameters(&mut other), own);
            other.import(&path, &form(layout, names)).unwrap();
            assert_eq!(parameters(&mut other), own, "{layout} {names:?}");
            // The shape of the 9×9 layer would not reveal a forgotten transposition.
            let wrong = other.import(
                &path,
                &form(if layout == Layout::Burn { Layout::PyTorch } else { Layout::Burn }, names),
            );
            let error = wrong.unwrap_err().to_string();
            assert!(error.contains(&format!("the layout of {layout}, not of")), "{error}");
        }
    }
    for names in [&["a", "b"][..], &["a", "b", "a"]] {
        let refused = net.export(&path, &form(Layout::Burn, names));
        assert!(matches!(refused, Err(Error::Invalid { .. })), "{names:?}");
    }
}

#[test]
fn layers_are_taken_in_the_order_of_their_numbers_or_shapes_or_as_named() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("w");
    let float = Dtype::F32;
    let names = |form: Interchange| -> Result<Vec<String>, Error> {
        Ok(form.layers(&path)?.into_iter().map(|layer| layer.name).collect())
    };
    // With more than ten layers, text order would put the last ones too early. They have no biases.
    let keys: Vec<String> = (0..12).map(|i| format!("layers.{i}.weight")).collect();
    let shapes: Vec<[usize; 2]> = (0..12).map(|i| [i + 3, i + 2]).collect();
    write(
        &path,
        &keys
            .iter()
            .zip(&shapes)
            .map(|(key, shape)| (key.as_str(), float, &shape[..]))
            .collect::<Vec<_>>(),
    );
    let numbered: Vec<String> = (0..12).map(|i| format!("layers.{i}")).collect();
    assert_eq!(names(form(Layout::PyTorch, &[])).unwrap(), numbered);
    assert!(!form(Layout::PyTorch, &[]).layers(&path).unwrap()[0].bias);

    write(
        &path,
        &[
            ("out.weight", float, &[2, 5]),
            ("top.weight", float, &[5, 3]),
            ("top.bias", float, &[5]),
        ],
    );
    assert_eq!(names(form(Layout::PyTorch, &[])).unwrap(), ["top", "out"], "by their shapes");
    let error = names(form(Layout::PyTorch, &["out", "top"])).unwrap_err().to_string();
    assert!(error.contains("layer top takes 3 features, out before it gives 2"), "{error}");
    assert_eq!(names(form(Layout::PyTorch, &["top", "out"])).unwrap(), ["top", "out"]);
    let error = names(form(Layout::PyTorch, &["top", "in"])).unwrap_err().to_string();
    assert!(
        error.contains("no tensor in.weight; there are out.weight, top.bias, top.weight"),
        "{error}"
    );

    write(&path, &[("fc.weight", float, &[2, 5]), ("bn.weight", float, &[5])]);
    let error = names(form(Layout::PyTorch, &[])).unwrap_err().to_string();
    assert!(error.contains("tensor bn.weight [5] is of no fully connected layer"), "{error}");
    assert_eq!(names(form(Layout::PyTorch, &["fc"])).unwrap(), ["fc"]);

    // The state of a single layer has no name before the tensor's.
    write(&path, &[("weight", float, &[2, 5]), ("bias", float, &[2])]);
    assert_eq!(names(form(Layout::PyTorch, &[])).unwrap(), [""]);
}

#[test]
fn what_is_no_network_of_these_is_refused_and_changes_nothing() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("w");
    let (float, other) = (Dtype::F32, Dtype::I32);
    let wanted = "F32 or F16 or BF16 or F64";
    let mut net = Mlp::new(Cpu::new(), architecture(3, &[], 2)).unwrap();
    let own = net.parameters(0).unwrap().unwrap();
    let cases: [(&[Zeros<'_>], &str); 8] = [
        (&[], "no tensor NAME.weight"),
        (&[("a.weight", float, &[2, 4])], "layers of widths [4, 2], the network's are [3, 2]"),
        (
            &[("a.weight", other, &[2, 3])],
            &format!("tensor a.weight is I32 [2, 3], expected {wanted} [2, 3]"),
        ),
        (
            &[("a.weight", float, &[2, 3]), ("a.bias", other, &[2])],
            &format!("tensor a.bias is I32 [2], expected {wanted} [2]"),
        ),
        (
            &[("a.weight", float, &[2, 3]), ("a.bias", float, &[1])],
            "tensor a.bias is F32 [1], expected F32 [2]",
        ),
        (
            &[("a.weight", float, &[2, 3]), ("a.bias", float, &[3])],
            "the layout of burn, not of pytorch",
        ),
        (&[("a.weight", float, &[0, 3])], "layers must not be empty"),
        (&[("a.weight", float, &[2, 3, 1])], "is of no fully connected layer"),
    ];
    for (tensors, named) in cases {
        write(&path, tensors);
        let error = net.import(&path, &Interchange::default()).unwrap_err();
        assert!(
            matches!(error, Error::Data { .. }) && error.to_string().contains(named),
            "{error}"
        );
        assert_eq!(net.parameters(0).unwrap().unwrap(), own, "{named}");
    }
    net.save(&path).unwrap();
    let error = net.import(&path, &Interchange::default()).unwrap_err().to_string();
    assert!(error.contains("saved by wgpu-dropout"), "{error}");
    std::fs::write(&path, "no file of tensors").unwrap();
    assert!(
        net.import(&path, &Interchange::default())
            .unwrap_err()
            .to_string()
            .contains("no safetensors file")
    );
}
