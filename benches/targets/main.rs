//! The targets for speed, as ratios: each line does the same with this crate and in another way, in turn.
//!
//! `cargo bench --bench targets` prints a table: the median of the ratios within pairs, between what it
//! lies with 95 %, the median time of each side, the pairs. Lines on filesystems need root and the
//! right to mount; without it they are left out. `TARGETS_PAIRS=n` sets the pairs (default 15),
//! `TARGETS_ONLY=word` measures the lines whose name has the word, `TARGETS_SIDE=ours` or `=theirs`
//! runs one side only and measures nothing: for strace and perf.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    unreachable_pub,
    missing_docs,
    missing_debug_implementations,
    reason = "a benchmark may fail by panicking"
)]

mod disk;
mod memory;
#[path = "../stage/mod.rs"]
mod stage;

use std::time::Duration;

use stage::pairs::compare;

/// The table being printed.
pub struct Table {
    pairs: usize,
    only: String,
    side: Option<String>,
}

impl Table {
    /// Whether a line is asked for; or some of the lines whose names begin so.
    pub fn wants(&self, name: &str) -> bool {
        name.contains(&self.only) || self.only.starts_with(name)
    }

    /// Measures a line and prints it. `limit`: the ratio that is to be kept, if there is one.
    pub fn line(
        &self,
        name: &str,
        limit: Option<f64>,
        mut ours: impl FnMut() -> Duration,
        mut theirs: impl FnMut() -> Duration,
    ) {
        if !name.contains(&self.only) {
            return;
        }
        match self.side.as_deref() {
            None => {}
            Some("ours") => return (0..self.pairs).for_each(|_| _ = ours()),
            Some("theirs") => return (0..self.pairs).for_each(|_| _ = theirs()),
            Some(other) => panic!("TARGETS_SIDE={other}"),
        }
        let ratio = compare(self.pairs, ours, theirs);
        let verdict = match limit {
            None => "-".into(),
            Some(limit) if ratio.interval.1 <= limit => format!("{limit:.2}, kept"),
            Some(limit) if ratio.interval.0 > limit => format!("{limit:.2}, missed"),
            Some(limit) => format!("{limit:.2}, open"),
        };
        println!("| {name} | {verdict} | {ratio} |");
    }

    /// Prints a count as a line.
    pub fn count(&self, name: &str, count: impl std::fmt::Display) {
        if self.side.is_none() {
            println!("| {name} | - | {count} | | | | |");
        }
    }
}

fn load() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').take(3).collect::<Vec<_>>().join(" ")
}

fn main() {
    let pairs = std::env::var("TARGETS_PAIRS").ok();
    let table = Table {
        pairs: pairs.map_or(15, |n| n.parse().expect("TARGETS_PAIRS: a number")),
        only: std::env::var("TARGETS_ONLY").unwrap_or_default(),
        side: std::env::var("TARGETS_SIDE").ok(),
    };
    println!("load before: {}\n", load());
    println!("| Line | Target | Ratio | 95 % | ours | theirs | pairs |");
    println!("|---|---|---:|---|---:|---:|---:|");
    memory::lines(&table);
    stage::on_stage(|stage| {
        if stage.can_mount() {
            disk::lines(&table, stage);
        }
    });
    println!("\nload after: {}", load());
}
