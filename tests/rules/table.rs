//! The rule table names every rule once, and only tests that exist.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Cells of every row of the table, by rule id.
fn rows() -> Vec<(u32, Vec<String>)> {
    let text = std::fs::read_to_string(root().join("docs/semantics.md")).unwrap();
    let mut rows = Vec::new();
    for line in text.lines() {
        let cells: Vec<String> = line.split('|').map(|c| c.trim().to_string()).collect();
        let id = cells.get(1).and_then(|id| id.strip_prefix('R'));
        if let Some(id) = id.filter(|_| cells.len() == 7) {
            rows.push((id.parse().unwrap(), cells));
        }
    }
    rows
}

/// `module::name` of every test below tests/rules.
fn tests() -> BTreeSet<String> {
    let mut tests = BTreeSet::new();
    for entry in std::fs::read_dir(root().join("tests/rules")).unwrap() {
        let path = entry.unwrap().path();
        let module = path.file_stem().unwrap().to_str().unwrap().to_string();
        let text = std::fs::read_to_string(&path).unwrap();
        let mut test = false;
        for line in text.lines() {
            test |= line == "#[test]";
            if let Some(name) = line.strip_prefix("fn ").filter(|_| test) {
                tests.insert(format!("{module}::{}", name.split('(').next().unwrap()));
                test = false;
            }
        }
    }
    tests
}

/// Ids at the start of a test's name, such as 273 and 274 of `r273_r274_hints`.
fn ids(test: &str) -> Vec<u32> {
    let name = test.split("::").last().unwrap();
    name.split('_')
        .map_while(|w| w.strip_prefix('r')?.parse().ok())
        .collect()
}

/// What stands in backquotes and looks like a test.
fn named(cell: &str) -> Vec<String> {
    let quoted = cell.split('`').skip(1).step_by(2);
    quoted
        .filter(|q| q.contains("::r"))
        .map(String::from)
        .collect()
}

#[test]
fn every_rule_has_one_row() {
    let ids: Vec<u32> = rows().into_iter().map(|(id, _)| id).collect();
    assert_eq!(ids, (1..=303).collect::<Vec<_>>());
}

#[test]
fn every_test_named_exists_and_every_test_is_named() {
    let tests = tests();
    let mut shown: BTreeMap<u32, BTreeSet<String>> = BTreeMap::new();
    for (id, cells) in rows() {
        let here: BTreeSet<String> = named(&cells[4]).into_iter().collect();
        for test in &here {
            assert!(
                tests.contains(test),
                "R{id:03} names {test}, which does not exist"
            );
        }
        let told = ["not yet", "live-kernel only"]
            .iter()
            .any(|s| cells[4].starts_with(s));
        assert!(
            !here.is_empty() || told,
            "R{id:03} is neither shown nor explained"
        );
        shown.insert(id, here);
    }
    for test in &tests {
        for id in ids(test) {
            assert!(shown[&id].contains(test), "R{id:03} does not name {test}");
        }
    }
}

#[test]
fn every_cell_that_should_say_something_does() {
    for (id, cells) in rows() {
        assert!(
            !cells[2].is_empty() && !cells[3].is_empty(),
            "R{id:03}: rule and source"
        );
    }
}

/// A deviation that a row names is described in the document.
#[test]
fn deviations_are_described() {
    let text = std::fs::read_to_string(root().join("docs/semantics.md")).unwrap();
    for (id, cells) in rows() {
        let words = cells[5].split([' ', ',', ';', ':']);
        for word in words.filter(|w| w.ends_with("-1") && w.len() > 3) {
            let defined = text.lines().any(|l| l.starts_with(&format!("| {word} |")));
            assert!(defined, "R{id:03} names {word}, which is not described");
        }
    }
}
