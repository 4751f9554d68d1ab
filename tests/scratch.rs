//! s
mod common;
use common::*;
use wgpu_dropout::{backend::Backend, call::*, *};
fn run<B: Backend>(b: &mut B, s: [usize; 3]) {
    let [batch, i, o] = s;
    let (x, w, bias) = (noise(1, batch * i), noise(2, i * o), noise(3, o));
    let d = Dropout::train(Mode::Inverted, Mask::new(Rate::drop(0.3).unwrap(), Key { seed: 7, layer: 1, step: 3 }).at(3, 5));
    let tx = b.tensor(batch, i, &x).unwrap();
    let tw = b.tensor(i, o, &w).unwrap();
    let tb = b.tensor(1, o, &bias).unwrap();
    let mut ty = poisoned(b, batch, o);
    b.linear_forward(LinearForward { x: &tx, weight: &tw, bias: Some(&tb), y: &mut ty, relu: true, dropout: d }).unwrap();
    let y = b.read(&ty).unwrap();
    wgpu_dropout::oracle::linear_forward(&x, &w, Some(&bias), s, true, &d).check(&format!("{} fwd {s:?}", b.name()), &y).unwrap();
    let dy = noise(4, batch * o);
    let tdy = b.tensor(batch, o, &dy).unwrap();
    for relu in [true, false] {
        let gz = wgpu_dropout::oracle::gradient(&dy, relu.then_some(&y[..]), o, &d);
        let mut dx = poisoned(b, batch, i);
        b.grad_input(GradInput {
            grad_output: &tdy,
            output: relu.then_some(&ty),
            weight: &tw,
            grad_input: &mut dx,
            dropout: d,
            through: None,
        })
        .unwrap();
        let dx = b.read(&dx).unwrap();
        wgpu_dropout::oracle::grad_input(&gz, &w, s).check(&format!("{} dx {s:?}", b.name()), &dx).unwrap();
        let mut dw = poisoned(b, i, o);
        let mut db = poisoned(b, 1, o);
        b.grad_weight(GradWeight {
            x: &tx,
            grad_output: &tdy,
            output: relu.then_some(&ty),
            grad_weight: &mut dw,
            grad_bias: &mut db,
            dropout: d,
        })
        .unwrap();
        let e = wgpu_dropout::oracle::grad_weight(&x, &gz, s);
        let (dw, db) = (b.read(&dw).unwrap(), b.read(&db).unwrap());
        e.0.check(&format!("{} dw {s:?} {relu}", b.name()), &dw).unwrap();
        e.1.check(&format!("{} db {s:?} {relu}", b.name()), &db).unwrap();
    }
}
#[test]
fn go() {
    let shapes = [[1, 1, 1], [7, 13, 129], [64, 64, 64], [9, 8, 8], [33, 20, 12], [65, 127, 10], [5, 3, 2]];
    for s in shapes {
        run(&mut cpu::Cpu::new(), s);
    }
    for mut g in gpus_by_tile() {
        for s in shapes {
            let t = std::time::Instant::now();
            run(&mut g, s);
            eprintln!("{:?} {s:?} {:?}", g.kernels().planner().tile, t.elapsed());
        }
    }
}
