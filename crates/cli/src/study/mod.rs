//! `study`: the claims of the papers on dropout, tested again on this program's own kernels, with
//! the published figures beside ours.
//!
//! A study is a small file in `studies/` with a claim, arms, a judgment and figures ([`plan`]).
//! [`runner`] runs its arms ([`training`]) and stores their results ([`record`]), so that a stopped
//! run resumes where it left off. [`results`] gathers the results over seeds, [`verdict`] decides
//! whether a claim holds, [`text`] prints, and [`crate::report`] writes the page.

mod draw;
mod experiment;
mod handmade;
mod histogram;
mod images;
mod layer;
mod normal;
mod page;
mod plan;
mod plot;
mod record;
mod results;
mod runner;
mod spread;
mod studies;
mod text;
mod training;
mod verdict;

pub use plan::Scene;
use text::Outcome;

use crate::args::{Common, integer};
use crate::data::{self, Opened};
use crate::failure::Failure;
use crate::machine::{Machine, Place};
use crate::outputs::Transaction;
use crate::train::session;
use crate::{engine, output, outputs, report};
use experiment::Study;
use plan::{Arm, Extent, Recipe};
use record::{Partial, Store};
use results::Results;
use runner::Runner;
use std::path::{Path, PathBuf};
use wgpu_dropout::Mode;

/// Arguments of `study`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Studies to run [default: all]
    #[arg(value_name = "NAME", value_parser = named)]
    names: Vec<&'static str>,
    /// Use small networks and training sets, and test claims of order and sign: minutes on two
    /// cores (the default)
    #[arg(long, conflicts_with_all = ["medium", "full"])]
    quick: bool,
    /// Use more rows and updates: `ladder`, `regularizers`, `keep-rate` and `monte-carlo` take an
    /// hour or two on two cores
    #[arg(long, conflicts_with = "full")]
    medium: bool,
    /// Use the papers' own sizes, and test claims with their figures: a night on a GPU
    #[arg(long)]
    full: bool,
    /// Number of seeds to run everything with, counted up from --seed
    #[arg(long, default_value = "3", value_parser = seeds, allow_negative_numbers = true)]
    seeds: u32,
    /// Data: the bundled digits, a folder of IDX files such as MNIST's, a CSV, or `-` for a CSV
    /// from stdin
    #[arg(long, default_value = "digits", value_name = "DIR|digits|FILE.csv|-")]
    data: PathBuf,
    /// Folder for the results: `results.jsonl`, from which a stopped run resumes, `study.html`,
    /// and its pictures as SVG
    #[arg(long, default_value = "study", value_name = "DIR")]
    out: PathBuf,
    /// List the studies with their claims and the published figures, without running any
    #[arg(long)]
    list: bool,
    /// Turn dropout off everywhere, to check that the claims then fail
    #[arg(long, hide = true)]
    without_dropout: bool,
    /// Limit the number of updates of each training, to test everything else quickly
    #[arg(long, hide = true, value_parser = integer::<u32>)]
    updates: Option<u32>,
    /// Reading of the data.
    #[command(flatten)]
    reading: data::Options,
}

fn named(text: &str) -> Result<&'static str, String> {
    let names = || studies::ALL.iter().map(|study| study.name);
    names()
        .find(|name| *name == text)
        .ok_or_else(|| format!("must be one of {}", names().collect::<Vec<_>>().join(", ")))
}

fn seeds(text: &str) -> Result<u32, String> {
    integer(text).and_then(|seeds| {
        if (1..=1000).contains(&seeds) { Ok(seeds) } else { Err("must be 1 to 1000".to_owned()) }
    })
}

impl Args {
    fn studies(&self) -> Vec<&'static Study> {
        studies::ALL
            .iter()
            .copied()
            .filter(|study| self.names.is_empty() || self.names.contains(&study.name))
            .collect()
    }
}

/// Returns the file name of a study's picture, counted from 1.
fn picture(study: &str, number: usize) -> String {
    format!("{study}-{number}.svg")
}

/// Returns the pictures of studies that are in a folder.
fn pictures(folder: &Path, studies: &[&Study]) -> Vec<PathBuf> {
    let of = |study: &'_ &Study| {
        let paths = (1..).map(|number| folder.join(picture(study.name, number)));
        paths.take_while(|path| path.exists()).collect::<Vec<_>>()
    };
    studies.iter().flat_map(of).collect()
}

/// Runs `study`.
pub fn run(args: &Args, common: &Common) -> Result<(), Failure> {
    let chosen = args.studies();
    if args.list {
        return if common.json {
            output::json(&text::list_json(&chosen))
        } else {
            output::text(&text::list(&chosen))
        };
    }
    let Opened { set: data, about, .. } = session::open(&args.data, &args.reading)?;
    let extent = match args {
        Args { full: true, .. } => Extent::Full,
        Args { medium: true, .. } => Extent::Medium,
        _ => Extent::Quick,
    };
    let scene = Scene::new(data, extent, args.updates.unwrap_or(u32::MAX));
    std::fs::create_dir_all(&args.out)
        .map_err(|error| Failure::Run(format!("{}: {error}", args.out.display())))?;
    let page = args.out.join("study.html");
    let results = args.out.join("results.jsonl");
    let earlier = pictures(&args.out, &chosen);
    let files = [&page, &results].into_iter().chain(&earlier);
    let inputs = data::sources(&args.data, &args.reading);
    outputs::check(common, files.map(|path| ("--out", path.as_path())), &inputs)?;
    let store = Store::open(results)?;

    let device = engine::open(&common.device, common.tile)?;
    let place = Place::of(&device);
    let say = |text: String| if common.json { Ok(()) } else { output::text(&text) };
    say(about + &text::heading(&scene, &place, args.seeds))?;
    let seeds = (0..u64::from(args.seeds)).map(|seed| common.seed().wrapping_add(seed)).collect();
    let change = |recipe: &mut Recipe| {
        if args.without_dropout {
            recipe.mode = Mode::None;
        }
    };
    let mut runner = Runner::new(device, &scene, store, Partial::new(&args.out), seeds);
    let studies: Vec<(&Study, Vec<Arm>)> =
        chosen.iter().map(|study| (*study, study.changed_arms(&scene, &change))).collect();

    let mut outcomes = Vec::new();
    let mut figures = Vec::new();
    runner.run(&studies, &mut |number, records, bar| {
        let (study, arms) = &studies[number];
        let results = Results { arms, records };
        let verdicts = (study.judge)(&scene, &results);
        let drawn = (study.figures)(&scene, &results)?;
        let svgs = drawn.iter().filter_map(|piece| report::standalone::svg(piece));
        let named = |(number, svg)| (args.out.join(picture(study.name, number)), svg);
        let mut files: Vec<(PathBuf, String)> = (1..).zip(svgs).map(named).collect();
        figures.push(drawn.concat());
        let outcome = Outcome { study, results, verdicts };
        bar.aside(|| {
            if common.json {
                output::json(&outcome.json(&scene, &place))
            } else {
                output::text(&outcome.text())
            }
        })?;
        outcomes.push(outcome);
        // The page is rewritten after each study, so that a long run can be watched.
        let html = page::page(&Machine::here(), &place, &scene, &outcomes, &figures);
        files.push((page.clone(), html));
        let mut outputs = Transaction::default();
        for (path, text) in &files {
            outputs.add(path, |out| out.write_all(text.as_bytes()));
        }
        outputs.write()
    })?;
    drop(runner);
    say(format!("wrote {}: open it in a browser\n", page.display()))?;
    text::ending(&outcomes).map_or(Ok(()), |what| Err(Failure::Run(what)))
}
