//! The studies, one file each.

mod cs231n_checks;
mod data_size;
mod exact_ensemble;
mod gaussian;
mod keep_rate;
mod ladder;
mod monte_carlo;
mod regularizers;
mod sparsity;
mod table2;
mod where_it_belongs;

use super::experiment::Study;

/// All studies, in the order in which they run.
pub static ALL: [&Study; 11] = [
    &cs231n_checks::STUDY,
    &exact_ensemble::STUDY,
    &ladder::STUDY,
    &table2::STUDY,
    &regularizers::STUDY,
    &keep_rate::STUDY,
    &data_size::STUDY,
    &monte_carlo::STUDY,
    &gaussian::STUDY,
    &sparsity::STUDY,
    &where_it_belongs::STUDY,
];
