//! The command `convert`: the order of layers, the unit, other types of numbers, NaN.

use super::*;

#[test]
fn convert_goes_both_ways() {
    let guard = TempDir::new().unwrap();
    let folder = guard.path();
    std::fs::copy(data("pytorch.safetensors"), folder.join("t")).unwrap();
    std::fs::copy(data("pytorch_x.npy"), folder.join("x.npy")).unwrap();
    let printed = succeed_quietly(
        folder,
        "convert --from pytorch --input t --output n --drop 0.3 --mode vanilla --seed 9 --unit 1",
    );
    assert_eq!(printed, "4-6-5-3 from pytorch, in n\n");
    succeed_quietly(folder, "predict --model n --data x.npy --output p.npy --device cpu --json");
    assert_eq!(npy::read(&folder.join("p.npy")).unwrap().shape, [8, 3]);
    let net = Mlp::load(Cpu::new(), &folder.join("n")).unwrap();
    assert_eq!(
        (net.architecture().mode, net.architecture().rate, net.architecture().seed),
        (Mode::Vanilla, Rate::drop(0.3).unwrap(), 9)
    );

    // Exported under PyTorch's names, the tensors are the very ones that it wrote.
    succeed_quietly(folder, "convert --to pytorch --layers 0,3,6 --input n --output back --json");
    let tensors = |name: &str| {
        let bytes = std::fs::read(folder.join(name)).unwrap();
        let tensors = SafeTensors::deserialize(&bytes).unwrap();
        let mut tensors: Vec<_> = tensors
            .iter()
            .map(|(name, view)| (name.to_owned(), view.shape().to_vec(), view.data().to_vec()))
            .collect();
        tensors.sort();
        tensors
    };
    assert_eq!(tensors("back"), tensors("t"));
    succeed_quietly(folder, "convert --to burn --input n --output b");
    succeed_quietly(
        folder,
        "convert --from burn --input b --output again --drop 0.3 --mode vanilla --seed 9 --unit 1",
    );
    assert_eq!(
        std::fs::read(folder.join("again")).unwrap(),
        std::fs::read(folder.join("n")).unwrap()
    );

    for (line, status, named) in [
        ("convert --input n --output m", 2, "--to"),
        ("convert --input n --output m --to burn --from burn", 2, "--from"),
        ("convert --input n --output m --to burn --drop 0.5", 2, "rates and mode go with --from"),
        ("convert --input n --output m --to burn --classes a,b,c", 2, "--classes, rates"),
        ("convert --input n --output m --to burn --unit 1", 2, "--unit, --classes"),
        ("convert --input t --output m --from pytorch --classes a", 2, "1 names for 3 classes"),
        ("convert --input t --output m --from pytorch --unit 1/8", 2, "must be 1, 1/16 or 1/255"),
        ("convert --input n --output m --to keras", 2, "must be pytorch or burn"),
        (
            "convert --input n --output m --to burn --layers a,b",
            1,
            "2 names for a network of 3 layers",
        ),
        ("convert --input t --output m --to burn", 1, "not saved by wgpu-dropout"),
        (
            "convert --input n --output m --from burn",
            1,
            "saved by wgpu-dropout, which can be used as it is",
        ),
        ("convert --input t --output m --from burn", 1, "the layout of pytorch, not of burn"),
        ("convert --input none --output m --from burn", 1, "none: "),
        ("convert --input t --output none/m --from pytorch", 1, "there is no folder none"),
    ] {
        let error = refuse(folder, line, status);
        assert!(error.contains(named), "`{line}`: {error}");
    }
}

/// Writes a safetensors file of these tensors.
fn write_bytes(path: &Path, tensors: &[(String, Dtype, Vec<usize>, Vec<u8>)]) {
    let views = tensors.iter().map(|(name, dtype, shape, bytes)| {
        (name.as_str(), TensorView::new(*dtype, shape.clone(), bytes).unwrap())
    });
    std::fs::write(path, safetensors::serialize(views, None).unwrap()).unwrap();
}

/// Writes PyTorch's tensors of layers with these values. A layer is its name, outputs and inputs.
fn write_layers(path: &Path, layers: &[(&str, usize, usize)], value: impl Fn(usize) -> f32) {
    let tensor = |name: String, shape: Vec<usize>, salt: usize| {
        let values = (0..shape.iter().product()).map(|i| value(i * 7 + salt));
        let bytes = values.flat_map(f32::to_le_bytes).collect();
        (name, Dtype::F32, shape, bytes)
    };
    let tensors: Vec<_> = layers
        .iter()
        .enumerate()
        .flat_map(|(salt, &(name, outputs, inputs))| {
            [
                tensor(format!("{name}.weight"), vec![outputs, inputs], salt),
                tensor(format!("{name}.bias"), vec![outputs], salt),
            ]
        })
        .collect();
    write_bytes(path, &tensors);
}

/// Runs a line that must succeed, and returns what it tells on stderr.
fn told(folder: &Path, line: &str) -> String {
    let output = run_in(folder, line);
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "`{line}`: {told}");
    told
}

/// Values between −1 and 1.
fn wave(i: usize) -> f32 {
    (i as f32 * 0.37).sin()
}

#[test]
fn an_order_that_nothing_forces_is_asked_for() {
    let guard = TempDir::new().unwrap();
    let folder = guard.path();
    let convert = "convert --from pytorch --unit 1 --input t --output n --drop 0.5";
    for (layers, list, names, answers) in [
        (
            &[("input", 8, 8), ("hidden", 8, 8), ("output", 8, 8)][..],
            "hidden 8→8, input 8→8, output 8→8",
            "--layers hidden,input,output",
            &["input,hidden,output", "output,input,hidden"][..],
        ),
        (
            &[("encoder", 4, 8), ("decoder", 8, 4)],
            "decoder 4→8, encoder 8→4",
            "--layers decoder,encoder",
            &["encoder,decoder", "decoder,encoder"],
        ),
        (
            &[("fc1", 8, 8), ("fc2", 8, 8), ("out", 8, 8)],
            "fc1 8→8, fc2 8→8, out 8→8",
            "--layers fc1,fc2,out",
            &["fc1,fc2,out", "out,fc1,fc2"],
        ),
    ] {
        write_layers(&folder.join("t"), layers, wave);
        let error = refuse(folder, convert, 2);
        assert!(error.contains(list) && error.contains(names), "{error}");
        for answer in answers {
            succeed_quietly(folder, &format!("{convert} --layers {answer}"));
            let net = Mlp::load(Cpu::new(), &folder.join("n")).unwrap().parameters(0).unwrap();
            let first = answer.split(',').next().unwrap();
            let at = layers.iter().position(|layer| layer.0 == first).unwrap();
            let bias: Vec<f32> = (0..layers[at].1).map(|i| wave(i * 7 + at)).collect();
            assert_eq!(net.unwrap().1, bias, "{answer} begins with {first}");
        }
        std::fs::remove_file(folder.join("n")).unwrap();
    }
    write_layers(&folder.join("t"), &[("a", 3, 2), ("b", 5, 4)], wave);
    let error = refuse(folder, convert, 2);
    assert!(error.contains("leave no order for its layers") && error.contains("a 2→3"), "{error}");
    // A list stays readable, and ends.
    let names: Vec<String> = (0..200).map(|i| "x".repeat(i % 20) + &i.to_string()).collect();
    let layers: Vec<_> = names.iter().map(|name| (name.as_str(), 2, 2)).collect();
    write_layers(&folder.join("t"), &layers, wave);
    let error = refuse(folder, convert, 2);
    assert!(error.contains("… (200 layers)") && error.len() < 1500, "{error}");
}

#[test]
fn shapes_force_an_order_where_names_have_no_numbers() {
    let guard = TempDir::new().unwrap();
    let folder = guard.path();
    write_layers(&folder.join("t"), &[("output", 2, 5), ("hidden", 5, 5), ("input", 5, 3)], wave);
    let printed =
        succeed_quietly(folder, "convert --from pytorch --unit 1 --input t --output n --drop 0.5");
    assert_eq!(printed, "3-5-5-2 from pytorch, in n\n");
    let mut net = Mlp::load(Cpu::new(), &folder.join("n")).unwrap();
    for (layer, (salt, len)) in [(2, 5), (1, 5), (0, 2)].into_iter().enumerate() {
        let bias: Vec<f32> = (0..len).map(|i| wave(i * 7 + salt)).collect();
        assert_eq!(net.parameters(layer).unwrap().unwrap().1, bias);
    }
}

#[test]
fn the_unit_of_a_converted_network_is_known_or_asked_for() {
    let guard = TempDir::new().unwrap();
    let folder = guard.path();
    write_layers(&folder.join("t"), &[("0", 6, 64), ("1", 10, 6)], wave);
    npy::write_u8(&folder.join("b.npy"), &[2, 64], &[9; 128]).unwrap();
    npy::write_f32(&folder.join("f.npy"), &[2, 64], &[9.0 / 16.0; 128]).unwrap();
    let rows: String = (0..9).map(|row| "9,".repeat(64) + &format!("{}\n", row % 2)).collect();
    std::fs::write(folder.join("r.csv"), rows).unwrap();
    let convert = "convert --from pytorch --input t --output";
    let notes = told(folder, &format!("{convert} n --drop 0.5"));
    assert!(
        notes.lines().count() == 1 && notes.contains("the unit of its data is unknown"),
        "{notes}"
    );
    assert!(told(folder, &format!("{convert} u --drop 0.5 --json")).contains("unknown"));
    assert_eq!(told(folder, &format!("{convert} k --drop 0.5 --unit 1/16")), "");
    let unit = |name: &str| {
        let bytes = std::fs::read(folder.join(name)).unwrap();
        let metadata = SafeTensors::read_metadata(&bytes).unwrap().1.metadata().clone().unwrap();
        ["unit", "features", "classes"].map(|key| metadata[key].clone())
    };
    let classes = serde_json::json!((0..10).map(|i| i.to_string()).collect::<Vec<_>>()).to_string();
    assert_eq!(unit("n"), ["unknown".to_owned(), "64".to_owned(), classes.clone()]);
    assert_eq!(unit("k"), ["1/16".to_owned(), "64".to_owned(), classes]);

    for device in cli::devices() {
        let of = |line: &str| {
            succeed_quietly(
                folder,
                &format!("predict --json --output p.npy --device {device} --model {line}"),
            );
            npy::read(&folder.join("p.npy")).unwrap().values
        };
        let right = of("n --data f.npy");
        for line in ["k --data f.npy", "k --data b.npy", "n --data b.npy --unit 1/16"] {
            assert_eq!(of(line), right, "{line}");
        }
        assert_ne!(of("n --data b.npy --unit 1"), right, "control");
        assert!(of("n --data r.csv --unit 1/16").chunks(10).all(|row| row == &right[..10]));
        std::fs::remove_file(folder.join("p.npy")).unwrap();
        for (data, usual) in [("b.npy", "1/255"), ("r.csv", "1"), ("digits", "1/16")] {
            let line = format!("predict --model n --data {data} --output q.npy --device {device}");
            let error = refuse(folder, &line, 2);
            for named in [data, "n does not say", &format!("add --unit {usual}, or --unit 1")] {
                assert!(error.contains(named), "{named}: {error}");
            }
        }
        let train = format!("train --epochs 1 --json --device {device} --resume n --save m");
        assert!(refuse(folder, &train, 2).contains("--unit 1/16"));
        succeed_quietly(folder, &format!("{train} --unit 1/16"));
        assert_eq!(unit("m")[0], "1/16", "the data were given in this unit");
    }
}

#[test]
fn unit_and_classes_go_through_the_files_of_other_libraries() {
    let guard = TempDir::new().unwrap();
    let folder = guard.path();
    write_layers(&folder.join("t"), &[("0", 6, 4), ("1", 3, 6)], wave);
    let options = "--unit 1/255 --classes cat,dog,owl";
    succeed_quietly(
        folder,
        &format!("convert --from pytorch --input t --output n --drop 0.5 {options}"),
    );
    let read = |name: &str| std::fs::read(folder.join(name)).unwrap();
    for library in ["pytorch", "burn"] {
        succeed_quietly(folder, &format!("convert --to {library} --input n --output x"));
        let back = format!("convert --from {library} --input x --output again --drop 0.5");
        succeed_quietly(folder, &back);
        assert_eq!(read("again"), read("n"), "{library}");
        succeed_quietly(folder, &format!("{back} --unit 1"));
        assert_ne!(read("again"), read("n"), "{library}, control");
    }
    // Entries that have the same names by chance.
    let layer = || {
        let zeros = |shape: Vec<usize>| vec![0; 4 * shape.iter().product::<usize>()];
        [("a.weight", vec![3, 4]), ("a.bias", vec![3])]
            .map(|(name, shape)| (name, shape.clone(), zeros(shape)))
    };
    for (key, value) in [("unit", "kg"), ("unit", ""), ("classes", "1000"), ("features", "x")] {
        let tensors = layer();
        let views = tensors.iter().map(|(name, shape, bytes)| {
            (*name, TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap())
        });
        let metadata = [(key.to_owned(), value.to_owned())].into();
        let bytes = safetensors::serialize(views, Some(metadata)).unwrap();
        std::fs::write(folder.join("t"), bytes).unwrap();
        let notes = told(folder, "convert --from pytorch --input t --output n --drop 0.5");
        assert!(notes.contains("the unit of its data is unknown"), "{key} {value}: {notes}");
    }
}

#[test]
fn halves_and_doubles_convert_with_a_line() {
    let guard = TempDir::new().unwrap();
    let folder = guard.path();
    let convert = "convert --from pytorch --unit 1 --drop 0.5 --input t --output n";
    // Values that every type represents, the rounding of a double, and values beyond f32.
    let exact = [0.0, -1.5, 0.25, 3.0, -0.0, 2.0f32.powi(-14)];
    let bytes = |dtype: Dtype, values: &[f64]| -> Vec<u8> {
        let of = |value: &f64| match dtype {
            Dtype::F16 => half::f16::from_f64(*value).to_le_bytes().to_vec(),
            Dtype::BF16 => half::bf16::from_f64(*value).to_le_bytes().to_vec(),
            Dtype::F64 => value.to_le_bytes().to_vec(),
            _ => (*value as f32).to_le_bytes().to_vec(),
        };
        values.iter().flat_map(of).collect()
    };
    let network = |dtype: Dtype, weight: &[f64], bias: &[f64]| {
        let tensor = |name: &str, shape: Vec<usize>, values: &[f64]| {
            (format!("a.{name}"), dtype, shape, bytes(dtype, values))
        };
        let tensors = [tensor("weight", vec![2, 3], weight), tensor("bias", vec![2], bias)];
        write_bytes(&folder.join("t"), &tensors);
        let notes = told(folder, convert);
        let net = Mlp::load(Cpu::new(), &folder.join("n")).unwrap().parameters(0).unwrap();
        (notes, net.unwrap())
    };
    let doubles: Vec<f64> = exact.iter().map(|&value| value.into()).collect();
    for (dtype, line) in [
        (Dtype::F32, ""),
        (Dtype::F16, "t: 2 tensors of F16 are widened to F32\n"),
        (Dtype::BF16, "t: 2 tensors of BF16 are widened to F32\n"),
        (Dtype::F64, "t: 2 tensors of F64 are rounded to F32\n"),
    ] {
        let (notes, (weight, bias)) = network(dtype, &doubles, &[0.5, -8.0]);
        assert_eq!((notes.as_str(), bias), (line, vec![0.5, -8.0]), "{dtype}");
        let transposed: Vec<u32> = [0, 3, 1, 4, 2, 5].map(|i: usize| exact[i].to_bits()).to_vec();
        assert_eq!(weight.iter().map(|w| w.to_bits()).collect::<Vec<_>>(), transposed, "{dtype}");
    }
    let (notes, (_, bias)) = network(Dtype::F64, &doubles, &[0.1, 1e300]);
    assert_eq!(bias, [0.1f32, f32::INFINITY]);
    assert!(notes.contains("rounded to F32") && notes.contains("0 NaN and 1 infinite"), "{notes}");
    // A weight of one type and a bias of another.
    let tensors = [
        ("a.weight".to_owned(), Dtype::BF16, vec![2, 3], bytes(Dtype::BF16, &doubles)),
        ("a.bias".to_owned(), Dtype::F32, vec![2], bytes(Dtype::F32, &[1.0, 2.0])),
    ];
    write_bytes(&folder.join("t"), &tensors);
    assert_eq!(told(folder, convert), "t: 1 tensor of BF16 is widened to F32\n");
}

#[test]
fn nan_and_infinity_among_the_weights_are_told() {
    let guard = TempDir::new().unwrap();
    let folder = guard.path();
    let layers = [("0", 4, 3), ("1", 2, 4)];
    let convert = "convert --from pytorch --unit 1 --drop 0.5 --input t --output n";
    for (bad, line) in [
        (f32::NAN, "0 has 2 NaN and 0 infinite values of 16"),
        (f32::INFINITY, "0 has 0 NaN and 2 infinite values of 16"),
        (f32::NEG_INFINITY, "0 has 0 NaN and 2 infinite values of 16"),
    ] {
        // The first element of the first layer's weight and bias.
        write_layers(&folder.join("t"), &layers, |i| if i == 0 { bad } else { 1.0 });
        for line_of in [convert, "convert --to burn --input n --output b"] {
            let notes = told(folder, line_of);
            assert!(notes.lines().count() == 1 && notes.contains(line), "{notes}");
        }
        assert!(succeed(folder, &format!("{convert} --json")).starts_with('{'));
    }
    write_layers(&folder.join("t"), &layers, |i| if i == 0 { f32::MAX } else { 1.0 });
    assert_eq!(told(folder, convert), "", "control");
    assert!(files(folder).len() == 3);
}
