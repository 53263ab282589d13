//! Two ways of doing the same, measured in turn: the median of the ratios within pairs, so that what
//! slows the machine for a while slows both sides of a pair.

use std::fmt;
use std::time::{Duration, Instant};

/// Ratios of pairs, with the median times of both sides.
#[derive(Clone, Debug)]
pub struct Ratio {
    pub median: f64,
    /// Of the median: with 95 % it lies between these, whatever the distribution.
    pub interval: (f64, f64),
    pub ours: Duration,
    pub theirs: Duration,
    pub pairs: usize,
}

/// Time of `f`.
pub fn time<T>(f: impl FnOnce() -> T) -> Duration {
    let start = Instant::now();
    let value = f();
    let took = start.elapsed();
    drop(value);
    took
}

/// Time of `f`, of `count` of them together, for each.
pub fn time_each<T>(count: u32, mut f: impl FnMut() -> T) -> Duration {
    let start = Instant::now();
    for _ in 0..count {
        std::hint::black_box(f());
    }
    start.elapsed() / count
}

/// Measures `pairs` pairs, after one that does not count. Which side comes first alternates.
pub fn compare(
    pairs: usize,
    mut ours: impl FnMut() -> Duration,
    mut theirs: impl FnMut() -> Duration,
) -> Ratio {
    let (mut a, mut b, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for i in 0..=pairs {
        let (x, y) = if i % 2 == 0 {
            let x = ours();
            (x, theirs())
        } else {
            let y = theirs();
            (ours(), y)
        };
        if i > 0 {
            a.push(x);
            b.push(y);
            ratios.push(x.as_secs_f64() / y.as_secs_f64());
        }
    }
    a.sort();
    b.sort();
    ratios.sort_by(f64::total_cmp);
    let (low, high) = ranks(pairs);
    Ratio {
        median: (ratios[(pairs - 1) / 2] + ratios[pairs / 2]) / 2.0,
        interval: (ratios[low], ratios[high]),
        ours: a[pairs / 2],
        theirs: b[pairs / 2],
        pairs,
    }
}

/// The ranks, counted from 0, between which the median lies with at least 95 %: each value lies above
/// it as a coin shows heads.
fn ranks(n: usize) -> (usize, usize) {
    let mut low = 0;
    let mut below = 0.5_f64.powi(i32::try_from(n).unwrap());
    let mut term = below;
    while below <= 0.025 && 2 * (low + 1) < n {
        low += 1;
        term *= (n - low + 1) as f64 / low as f64;
        below += term;
    }
    let low = low.saturating_sub(1);
    (low, n - 1 - low)
}

impl fmt::Display for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (low, high) = self.interval;
        let (ours, theirs) = (show(self.ours), show(self.theirs));
        let (median, pairs) = (self.median, self.pairs);
        write!(
            f,
            "{median:.3} | {low:.3} to {high:.3} | {ours} | {theirs} | {pairs}"
        )
    }
}

/// A time with three digits.
fn show(time: Duration) -> String {
    let ns = time.as_secs_f64() * 1e9;
    let (value, unit) = match ns {
        _ if ns < 1e3 => (ns, "ns"),
        _ if ns < 1e6 => (ns / 1e3, "us"),
        _ if ns < 1e9 => (ns / 1e6, "ms"),
        _ => (ns / 1e9, "s"),
    };
    format!("{value:.*} {unit}", usize::from(value < 100.0))
}
