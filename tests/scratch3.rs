//! s
mod common;
use common::*;
use wgpu_dropout::{*, backend::Backend, mlp::*, data::*};
fn run<B: Backend>(b: B) -> Vec<f32> {
    let d = DataSet::digits().unwrap();
    let t = std::time::Instant::now();
    let mut all = vec![];
    let mut b = b;
    for mode in [Mode::None, Mode::Vanilla, Mode::Inverted] {
    let mut net = Mlp::new(b, Architecture{inputs:64, hidden:vec![256,256], classes:d.classes, mode, rate:Rate::drop(0.5).unwrap(), input_rate:Rate::drop(0.2).unwrap(), seed:0}).unwrap();
    let up = |net: &mut Mlp<B>, s: &Samples| { let src = match &s.values { Values::Bytes(b)=>Source::Bytes(b), Values::Floats(f)=>Source::Floats(f)}; Resident::new(net.backend_mut(), src, s.cols, s.unit, &s.labels).unwrap() };
    let (train, test) = (up(&mut net,&d.train), up(&mut net,&d.test));
    for e in 0..20 {
        let before = net.backend().counts();
        let r = net.train_epoch(&train, &Training::default()).unwrap();
        let c = net.backend().counts() - before;
        let ev = net.evaluate(&test).unwrap(); let et = net.evaluate(&train).unwrap();
        if e < 2 || e == 19 { eprintln!("{} {mode} {e} {:.4} train {:.4} {:.2} test {:.4} {:.2} {:?} {:?}", net.backend().name(), r.running_loss, et.loss, et.error, ev.loss, ev.error, t.elapsed(), c); }
        if e == 0 { all.extend(r.losses); }
    }
    drop((train,test));
    b = net.into_backend();
    }
    all
}
#[test]
fn go() {
    let c = run(cpu::Cpu::new());
    let g = run(gpu().unwrap());
    for (i,(a,b)) in c.iter().zip(&g).enumerate() { if i%23<20 && (a-b).abs()/a > 1e-4 { eprintln!("{i} {a} {b}"); } }
}
