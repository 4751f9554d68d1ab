//! s
mod common;
use common::*;
use wgpu_dropout::{*, backend::Backend, call::*, gpu::*};
#[test]
fn compile() {
  for tile in Tile::ALL {
  for s in [[64usize,64usize,64usize],[64,65,63]] {
    let Some(mut g) = gpu_with(|p| Planner{tile, ..p}) else {return};
    let b = &mut g;
    let [batch, i, o] = s;
    let d = Dropout::train(Mode::Inverted, Mask::new(Rate::drop(0.3).unwrap(), Key{seed:7, layer:1, step:3}));
    let tx = b.zeros(batch, i).unwrap(); let tw = b.zeros(i, o).unwrap(); let tb = b.zeros(1, o).unwrap();
    let mut ty = b.zeros(batch, o).unwrap(); let tdy = b.zeros(batch,o).unwrap();
    let mut dx = b.zeros(batch, i).unwrap(); let mut dw = b.zeros( i, o).unwrap(); let mut db = b.zeros( 1, o).unwrap();
    let mut tx2 = b.zeros(batch, i).unwrap();
    let t=std::time::Instant::now();
    b.dropout(DropoutCall{x:&tx, y:&mut tx2, dropout:d}).unwrap(); b.wait().unwrap();
    eprintln!("{tile} {s:?} dropout {:?}", t.elapsed());
    let t=std::time::Instant::now();
    b.linear_forward(LinearForward{x:&tx, weight:&tw, bias:Some(&tb), y:&mut ty, relu:true, dropout:d}).unwrap(); eprintln!("register pipeline {:?}", t.elapsed()); b.submit().unwrap(); eprintln!("register submit {:?}", t.elapsed()); b.wait().unwrap();
    eprintln!("{tile} {s:?} forward {:?}", t.elapsed());
    for (gate, relu, d) in [("none", false, Dropout::NONE), ("relu", true, d), ("mask", false, d)] {
    let t=std::time::Instant::now();
    b.grad_input(GradInput{grad_output:&tdy, output: relu.then_some(&ty), weight:&tw, grad_input:&mut dx, dropout:d}).unwrap(); b.wait().unwrap();
    eprintln!("{tile} {s:?} dx {gate} {:?}", t.elapsed());
    let t=std::time::Instant::now();
    b.grad_weight(GradWeight{x:&tx, grad_output:&tdy, output: relu.then_some(&ty), grad_weight:&mut dw, grad_bias:&mut db, dropout:d}).unwrap(); b.wait().unwrap();
    eprintln!("{tile} {s:?} dw {gate} {:?}", t.elapsed());
    }
  }}
}
