//! `study.html`: each study with its claim, the published figures, the figures found here, and its
//! pictures.

use super::plan::Scene;
use super::text::Outcome;
use super::verdict::Verdict;
use crate::machine::{Machine, Place};
use crate::report::{document, escape, head, table};

/// Builds the page; `figures` has the pictures of each outcome.
pub fn page(
    machine: &Machine,
    place: &Place,
    scene: &Scene,
    outcomes: &[Outcome<'_>],
    figures: &[String],
) -> String {
    let lead = "The claims of the papers on dropout, tested again on this machine: the published figures beside those found here.";
    let sections = outcomes.iter().zip(figures).map(|(outcome, figures)| section(outcome, figures));
    let body = [
        head("wgpu-dropout study", lead, machine, std::slice::from_ref(place)),
        summary(scene, outcomes),
    ];
    document("wgpu-dropout study", &body.into_iter().chain(sections).collect::<String>())
}

fn summary(scene: &Scene, outcomes: &[Outcome<'_>]) -> String {
    let rows = outcomes.iter().map(|outcome| {
        let name = outcome.study.name;
        let holding = outcome.verdicts.iter().filter(|verdict| verdict.holds()).count();
        vec![
            format!("<a href=\"#{name}\">{name}</a>"),
            mark(outcome.holds()),
            format!("{holding} of {}", outcome.verdicts.len()),
            format!("{:.0} s", outcome.seconds()),
        ]
    });
    format!(
        "<h2>Summary</h2>\n<p>{}. {} Figures are means ± standard deviations over seeds; an \
         error is that of the last epoch.</p>\n{}",
        escape(&scene.describe()),
        scene.pick_of(
            "The quick form: smaller networks and training sets, and claims of order and sign alone.",
            "The medium form: more rows and updates, and claims of order and sign alone.",
            "The full form: the papers’ own sizes, and claims with their figures."
        ),
        table(&["study", "claim", "parts that hold", "time"], rows)
    )
}

fn mark(holds: bool) -> String {
    if holds {
        "<span class=\"ok\">holds</span>".to_owned()
    } else {
        "<span class=\"wrong\">does not hold</span>".to_owned()
    }
}

fn section(outcome: &Outcome<'_>, figures: &str) -> String {
    let study = outcome.study;
    let figures = if figures.is_empty() {
        String::new()
    } else {
        format!("<div class=\"grid\">\n{figures}</div>\n")
    };
    let verdicts: String = outcome.verdicts.iter().map(verdict).collect();
    format!(
        "<h2 id=\"{}\">{}</h2>\n<p>{}</p>\n<p class=\"note\">Published: {} ({})</p>\n<ul class=\"verdicts\">\n{verdicts}</ul>\n{figures}{}",
        study.name,
        study.name,
        escape(study.claim),
        escape(study.published),
        escape(study.source),
        arms(outcome)
    )
}

fn verdict(verdict: &Verdict) -> String {
    let short = verdict.shortfall().map(|short| format!(", {short}")).unwrap_or_default();
    format!(
        "<li>{} {}: {}{}</li>\n",
        mark(verdict.holds()),
        escape(&verdict.claim),
        escape(&verdict.found),
        escape(&short)
    )
}

fn arms(outcome: &Outcome<'_>) -> String {
    let columns = outcome.study.columns;
    let heads: Vec<&str> =
        ["arm"].into_iter().chain(columns.iter().map(|(_, head, _)| *head)).collect();
    let rows = outcome.results.arms.iter().map(|arm| {
        let figures = columns
            .iter()
            .map(|(what, _, digits)| outcome.results.value(&arm.name, what).shown(*digits));
        [escape(&arm.name)].into_iter().chain(figures).collect()
    });
    table(&heads, rows)
}
