//! A progress bar on stderr if that is a terminal; nothing otherwise.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::time::Duration;

/// Progress bar of a long task.
pub struct Bar(ProgressBar);

impl Bar {
    /// Creates a bar over `steps` steps.
    pub fn new(steps: u64) -> Self {
        // At most 10 redraws a second. The bar hides itself if stderr is not a terminal.
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

    /// Sets the message beside the bar.
    pub fn say(&self, what: String) {
        self.0.set_message(what);
    }

    /// Advances by one step.
    pub fn step(&self) {
        self.0.inc(1);
    }

    /// Advances by `steps` steps.
    pub fn advance(&self, steps: u64) {
        self.0.inc(steps);
    }

    /// Adds `steps` steps to the total.
    pub fn lengthen(&self, steps: u64) {
        self.0.inc_length(steps);
    }

    /// Runs `print` while the bar is hidden.
    pub fn aside<T>(&self, print: impl FnOnce() -> T) -> T {
        self.0.suspend(print)
    }

    /// Removes the bar.
    pub fn end(&self) {
        self.0.finish_and_clear();
    }
}

/// Removes the bar, so that a run that fails does not leave half of it behind.
impl Drop for Bar {
    fn drop(&mut self) {
        self.end();
    }
}
