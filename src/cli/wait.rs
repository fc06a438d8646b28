//! What people see while something takes long: a bar on a terminal, else one line with the time left.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::open::{is_quiet, note};

/// A bar appears only when something takes longer than this.
const PATIENCE: Duration = Duration::from_millis(700);
/// Where there is no terminal, a line tells how long it takes when that is longer than this.
const UNTOLD: Duration = Duration::from_secs(2);

/// Something that may take long.
pub(super) struct Wait {
    what: &'static str,
    /// Progress counts bytes, else parts of the work.
    in_bytes: bool,
    started: Instant,
    bar: Option<ProgressBar>,
    told: bool,
}

impl Wait {
    /// `what`: what is being done, such as `reading the prompt`.
    pub(super) fn new(what: &'static str) -> Wait {
        Wait { what, in_bytes: false, started: Instant::now(), bar: None, told: false }
    }

    /// As [`Wait::new`], counted in bytes.
    pub(super) fn for_bytes(what: &'static str) -> Wait {
        let mut wait = Wait::new(what);
        wait.in_bytes = true;
        wait
    }

    /// `done` of `total` is done.
    pub(super) fn show(&mut self, done: u64, total: u64) {
        let elapsed = self.started.elapsed();
        if done < total && elapsed > PATIENCE && self.bar.is_none() && std::io::stderr().is_terminal() {
            let template = match self.in_bytes {
                true => "{msg} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}",
                false => "{msg} {wide_bar} {percent} % {eta}",
            };
            let bar = bar(total, template);
            bar.set_message(self.what);
            // Its own rate counts from now on only.
            self.bar = Some(bar.with_elapsed(elapsed));
        }
        if let Some(bar) = &self.bar {
            bar.set_position(done);
        }
        let left = left(elapsed, done, total);
        if !std::io::stderr().is_terminal() && !self.told && elapsed + left > UNTOLD && done > 0 {
            self.told = true;
            if left > UNTOLD {
                note(&format!("{}: about {} s", self.what, left.as_secs_f64().ceil()));
            }
        }
    }

    /// It is done, or given up.
    pub(super) fn end(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        self.end();
    }
}

/// Time left at the pace so far.
fn left(elapsed: Duration, done: u64, total: u64) -> Duration {
    match done {
        0 => Duration::ZERO,
        _ => elapsed.mul_f64(total.saturating_sub(done) as f64 / done as f64),
    }
}

/// A progress bar on stderr, hidden when that is no terminal.
pub(super) fn bar(total: u64, template: &str) -> ProgressBar {
    let target = match std::io::stderr().is_terminal() && !is_quiet() {
        true => ProgressDrawTarget::stderr(),
        false => ProgressDrawTarget::hidden(),
    };
    let bar = ProgressBar::with_draw_target(Some(total), target);
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    bar.set_style(style);
    bar
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_left_goes_by_the_pace_so_far() {
        let s = Duration::from_secs;
        for (done, total, want) in [(0, 8, 0), (1, 8, 28), (4, 8, 4), (8, 8, 0), (9, 8, 0)] {
            assert_eq!(left(s(4), done, total), s(want), "{done} of {total}");
        }
    }
}
