//! Draws what the benchmarks measured: one SVG file for each group, from criterion's own results.
//!
//! `cargo run --example plots -- [CRITERION [OUT]]`: the folder of the results (`target/criterion`) and
//! where to write (`docs/plots`). Each line of a group has a row for who did it: a bar to the median,
//! over the interval in which it lies with 95 %, on a logarithmic scale of time.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

type Res<T = ()> = Result<T, Box<dyn Error>>;

/// A median in nanoseconds, and its interval.
#[derive(Copy, Clone)]
struct Median {
    at: f64,
    low: f64,
    high: f64,
}

/// What was measured, by line and by who did it.
type Group = BTreeMap<String, BTreeMap<String, Median>>;

const ROW: f64 = 18.0;
const LABEL: f64 = 230.0;
const WIDTH: f64 = 620.0;
const NUMBER: f64 = 90.0;
const COLOURS: [&str; 5] = ["#3566a5", "#9a9a9a", "#c8803a", "#6f9f4f", "#8a5aa0"];

fn main() -> Res {
    let mut args = std::env::args_os().skip(1).map(PathBuf::from);
    let from = args.next().unwrap_or_else(|| "target/criterion".into());
    let out = args.next().unwrap_or_else(|| "docs/plots".into());
    let mut groups: BTreeMap<String, Group> = BTreeMap::new();
    for entry in walkdir::WalkDir::new(&from).sort_by_file_name() {
        let entry = entry?;
        let dir = entry.path();
        if entry.file_name() == "new" && dir.join("benchmark.json").is_file() {
            read(dir, &mut groups)?;
        }
    }
    if groups.is_empty() {
        return Err(format!("{}: no results of criterion", from.display()).into());
    }
    fs::create_dir_all(&out)?;
    for (name, group) in &groups {
        let path = out.join(format!("{name}.svg"));
        fs::write(&path, draw(name, group)?)?;
        println!("{}", path.display());
    }
    Ok(())
}

/// Adds one result to its group.
fn read(dir: &Path, groups: &mut BTreeMap<String, Group>) -> Res {
    let json = |name: &str| -> Res<Value> {
        let path = dir.join(name);
        let text = fs::read_to_string(&path)?;
        Ok(serde_json::from_str(&text).map_err(|e| format!("{}: {e}", path.display()))?)
    };
    let (names, estimates) = (json("benchmark.json")?, json("estimates.json")?);
    let text = |key: &str| names.get(key).and_then(Value::as_str).unwrap_or_default();
    let number = |pointer: &str| {
        let value = estimates.pointer(pointer).and_then(Value::as_f64);
        value.ok_or_else(|| format!("{}: no {pointer}", dir.display()))
    };
    let median = Median {
        at: number("/median/point_estimate")?,
        low: number("/median/confidence_interval/lower_bound")?,
        high: number("/median/confidence_interval/upper_bound")?,
    };
    let group = groups.entry(text("group_id").into()).or_default();
    let line = group.entry(text("value_str").into()).or_default();
    line.insert(text("function_id").into(), median);
    Ok(())
}

fn draw(name: &str, group: &Group) -> Res<String> {
    let all = || group.values().flat_map(BTreeMap::values);
    let least = all().map(|m| m.low).fold(f64::INFINITY, f64::min).max(1.0);
    let most = all().map(|m| m.high).fold(1.0, f64::max);
    // Whole powers of ten, so that the grid has something to show.
    let (first, last) = (least.log10().floor(), most.log10().ceil());
    let x = |ns: f64| LABEL + (ns.max(1.0).log10() - first) / (last - first).max(1.0) * WIDTH;
    let mut who: Vec<&str> = group
        .values()
        .flat_map(|l| l.keys().map(String::as_str))
        .collect();
    who.sort_unstable();
    who.dedup();
    let rows = group
        .values()
        .map(|line| line.len() as f64 + 0.6)
        .sum::<f64>();
    let (width, height) = (LABEL + WIDTH + NUMBER, ROW * (rows + 4.0));
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"8\" y=\"{ROW}\" font-weight=\"bold\">{}</text>\n",
        escape(name)
    );
    let bottom = ROW * (rows + 2.2);
    for power in first as i32..=last as i32 {
        let (at, label) = (x(10_f64.powi(power)), show(10_f64.powi(power)));
        writeln!(
            svg,
            "<line x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{:.1}\" y2=\"{bottom:.1}\" stroke=\"#ddd\"/>\n\
             <text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\" fill=\"#555\">{label}</text>",
            ROW * 1.5,
            bottom + ROW,
        )?;
    }
    let mut y = ROW * 2.0;
    for (line, medians) in group {
        for (name, median) in medians {
            let place = who.iter().position(|w| w == name).unwrap_or(0);
            let colour = COLOURS.iter().cycle().nth(place).unwrap_or(&"black");
            let (at, low, high) = (x(median.at), x(median.low), x(median.high));
            let label = escape(&format!("{line} {name}"));
            let (top, middle, text) = (y + 3.0, y + ROW / 2.0, y + ROW * 0.7);
            writeln!(
                svg,
                "<text x=\"{:.1}\" y=\"{text:.1}\" text-anchor=\"end\">{label}</text>\n\
                 <rect x=\"{LABEL}\" y=\"{top:.1}\" width=\"{:.1}\" height=\"{:.1}\" fill=\"{colour}\"/>\n\
                 <line x1=\"{low:.1}\" x2=\"{high:.1}\" y1=\"{middle:.1}\" y2=\"{middle:.1}\" \
                 stroke=\"black\" stroke-width=\"2\"/>\n\
                 <text x=\"{:.1}\" y=\"{text:.1}\">{}</text>",
                LABEL - 6.0,
                (at - LABEL).max(1.0),
                ROW - 6.0,
                at.max(high) + 5.0,
                show(median.at),
            )?;
            y += ROW;
        }
        y += ROW * 0.6;
    }
    svg.push_str("</svg>\n");
    Ok(svg)
}

/// A time for people.
fn show(ns: f64) -> String {
    let (value, unit) = match ns {
        _ if ns < 1e3 => (ns, "ns"),
        _ if ns < 1e6 => (ns / 1e3, "us"),
        _ if ns < 1e9 => (ns / 1e6, "ms"),
        _ => (ns / 1e9, "s"),
    };
    let digits = usize::from(value < 9.95 && value.fract() > 0.0);
    format!("{value:.digits$} {unit}")
}

fn escape(text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    text.replace('>', "&gt;")
}
