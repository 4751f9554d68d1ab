//! Output of studies as text and as JSON.

use super::experiment::Study;
use super::plan::Scene;
use super::results::Results;
use super::verdict::Verdict;
use crate::machine::Place;
use serde_json::{Map, Value, json};

/// Outcome of a study.
#[derive(Debug)]
pub struct Outcome<'a> {
    /// Study.
    pub study: &'static Study,
    /// Figures of its arms.
    pub results: Results<'a>,
    /// Verdicts on its claims.
    pub verdicts: Vec<Verdict>,
}

impl Outcome<'_> {
    /// Returns true if all its claims hold.
    pub fn holds(&self) -> bool {
        self.verdicts.iter().all(Verdict::holds)
    }

    /// Returns the seconds of work.
    pub fn seconds(&self) -> f64 {
        self.results.records.iter().map(|record| record.seconds).sum()
    }

    /// Returns the outcome as text: the claim, a row per arm, a line per verdict.
    pub fn text(&self) -> String {
        let Study { name, claim, published, source, columns, .. } = self.study;
        let arms = self.results.arms;
        let wide = arms.iter().map(|arm| arm.name.chars().count()).max().unwrap_or(0).max(3);
        let head: String = columns.iter().map(|(_, head, _)| format!("  {head:>16}")).collect();
        let rows = arms.iter().map(|arm| {
            let figures = columns.iter().map(|(what, _, digits)| {
                format!("  {:>16}", self.results.value(&arm.name, what).shown(*digits))
            });
            format!("  {:<wide$}{}\n", arm.name, figures.collect::<String>())
        });
        let verdicts = self.verdicts.iter().map(|verdict| {
            let mark = if verdict.holds() { "HOLDS" } else { "FAILS" };
            let short = verdict.shortfall().map(|short| format!(", {short}")).unwrap_or_default();
            format!("  {mark}  {}: {}{short}\n", verdict.claim, verdict.found)
        });
        format!(
            "{name}: {claim}\n  published: {published} ({source})\n  {:<wide$}{head}\n{}{}  {:.1} s\n\n",
            "arm",
            rows.collect::<String>(),
            verdicts.collect::<String>(),
            self.seconds()
        )
    }

    /// Returns the outcome as JSON.
    pub fn json(&self, scene: &Scene, place: &Place) -> Value {
        let arms = self.results.arms.iter().map(|arm| {
            let figures = self.study.columns.iter().map(|(what, ..)| {
                let spread = self.results.value(&arm.name, what);
                ((*what).to_owned(), json!({"mean": spread.mean, "deviation": spread.deviation, "seeds": spread.count}))
            });
            json!({"arm": arm.name, "figures": figures.collect::<Map<_, _>>()})
        });
        json!({
            "study": self.study.name,
            "extent": scene.pick_of("quick", "medium", "full"),
            "data": scene.data.name,
            "adapter": place.name,
            "backend": place.interface,
            "holds": self.holds(),
            "claims": self.verdicts.iter().map(Verdict::json).collect::<Vec<_>>(),
            "arms": arms.collect::<Vec<_>>(),
            "seconds": self.seconds(),
        })
    }
}

/// Lists the studies and their claims as text.
pub fn list(studies: &[&Study]) -> String {
    let entry = |study: &&Study| {
        format!(
            "{}\n  {}\n  published: {} ({})\n\n",
            study.name, study.claim, study.published, study.source
        )
    };
    studies.iter().map(entry).collect()
}

/// Lists the studies and their claims as JSON.
pub fn list_json(studies: &[&Study]) -> Value {
    let entry = |study: &&Study| {
        let Study { name, claim, published, source, .. } = study;
        json!({"study": name, "claim": claim, "published": published, "source": source})
    };
    studies.iter().map(entry).collect()
}

/// Returns the data, device and extent that the studies run with.
pub fn heading(scene: &Scene, place: &Place, seeds: u32) -> String {
    let data = &scene.data;
    format!(
        "data     {}; {} features, {} classes\ndevice   {}\nextent   {}, {seeds} seeds\n\n",
        scene.describe(),
        data.train.cols,
        data.classes.len(),
        place.label,
        scene.pick_of(
            "quick: claims of order and sign",
            "medium: claims of order and sign, larger sizes",
            "full: claims with the papers' figures"
        )
    )
}

/// Lists the claims that do not hold and their shortfalls; `None` if all hold.
pub fn ending(outcomes: &[Outcome<'_>]) -> Option<String> {
    let failed = outcomes.iter().flat_map(|outcome| {
        let short =
            outcome.verdicts.iter().filter_map(|verdict| Some((verdict, verdict.shortfall()?)));
        short.map(|(verdict, short)| format!("{}: {}, {short}", outcome.study.name, verdict.claim))
    });
    let failed: Vec<String> = failed.collect();
    let all: usize = outcomes.iter().map(|outcome| outcome.verdicts.len()).sum();
    (!failed.is_empty())
        .then(|| format!("{} of {all} claims do not hold: {}", failed.len(), failed.join("; ")))
}
