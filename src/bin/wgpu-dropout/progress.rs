//! A progress bar on stderr where that is a terminal, nothing in a pipe.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::time::Duration;

/// Long work on its way.
pub struct Bar(ProgressBar);

impl Bar {
    /// A bar over so many parts of the work.
    pub fn new(steps: u64) -> Self {
        // At most 10 pictures a second; hidden by itself where stderr is no terminal.
        let bar =
            ProgressBar::with_draw_target(Some(steps), ProgressDrawTarget::stderr_with_hz(10));
        if let Ok(style) =
            ProgressStyle::with_template("{msg} [{bar:30}] {percent:>3} %, {eta} left")
        {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.enable_steady_tick(Duration::from_millis(500));
        Self(bar)
    }

    /// What is being done.
    pub fn say(&self, what: String) {
        self.0.set_message(what);
    }

    /// A part is done.
    pub fn step(&self) {
        self.0.inc(1);
    }

    /// So many parts are done.
    pub fn advance(&self, steps: u64) {
        self.0.inc(steps);
    }

    /// There are so many parts more.
    pub fn lengthen(&self, steps: u64) {
        self.0.inc_length(steps);
    }

    /// Prints with the bar out of the way.
    pub fn aside<T>(&self, print: impl FnOnce() -> T) -> T {
        self.0.suspend(print)
    }

    /// Takes the bar away.
    pub fn end(&self) {
        self.0.finish_and_clear();
    }
}

/// A run that fails leaves no half a bar behind its error.
impl Drop for Bar {
    fn drop(&mut self) {
        self.end();
    }
}
