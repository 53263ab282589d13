//! Any operations on any layers in memory, also on behalf of callers, closed, opened again and rotated in
//! between: what the reference model answers and shows.

use std::time::SystemTime;

use layerstack::testing::case::Check;
use layerstack::testing::merged::{Agreement, MemUnion};
use layerstack::testing::oracle::{MergeOptions, without_quirks};
use layerstack::testing::strategy::{CaseReader, Profile};
use layerstack::testing::{ReferenceModel, Weakenings};
use layerstack::{Fsync, OverlayOptions, RedirectDir, Timestamp, XattrNamespace};

/// Most operations of one run.
const OPS_MAX: usize = 24;

/// What layers and operations may hold.
pub fn profile() -> Profile {
    let mut profile = Profile::root().ops_max(OPS_MAX);
    profile.lowers_max = 3;
    profile
}

/// Now, as the engine and the model tell it.
pub fn now() -> Timestamp {
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    Timestamp::new(now.as_secs().cast_signed(), now.subsec_nanos())
}

/// A directory whose path does not fit into a redirect cannot be renamed (rule R155).
fn plain_names(mut profile: Profile) -> Profile {
    profile.odd_names = false;
    profile
}

thread_local! {
    static READER: CaseReader = CaseReader::new(&profile());
    static CALLERS: CaseReader = CaseReader::new(&profile().callers(true));
    static PLAIN_NAMES: CaseReader = CaseReader::new(&plain_names(profile()));
    static PLAIN_NAMES_CALLERS: CaseReader =
        CaseReader::new(&plain_names(profile().callers(true)));
}

/// Checks one input.
pub fn check(bytes: &[u8]) {
    let Some((first, rest)) = bytes.split_first() else {
        return;
    };
    let posix = first & 1 == 1;
    let reader = match (posix, first & 2 == 2) {
        (false, false) => &READER,
        (false, true) => &CALLERS,
        (true, false) => &PLAIN_NAMES,
        (true, true) => &PLAIN_NAMES_CALLERS,
    };
    let mut case = reader.with(|reader| reader.read(rest));
    without_quirks(&mut case);
    if std::env::var_os("FUZZ_PRINT").is_some() {
        eprintln!("{case:?}");
    }
    let mut options = OverlayOptions::new().fsync(Fsync::Off);
    let mut weak = Weakenings::default_options(XattrNamespace::Trusted);
    if posix {
        options = options.redirect_dir(RedirectDir::On).index(true);
        weak = Weakenings::posix_profile(XattrNamespace::Trusted);
        // The index, which keeps the names of a file together, does not become a lower.
        for check in case.checks.values_mut().filter(|c| **c == Check::Rotate) {
            *check = Check::Remount;
        }
    }
    let merged = MergeOptions::default();
    let model = ReferenceModel::of_stack(&case.lowers, case.upper.as_ref(), &merged, weak);
    let Ok(model) = model else { return };
    let started = now();
    let mut model = model.clock(started);
    let mut union = MemUnion::new(&case, options).expect("layers in memory open");
    let mut agreement = Agreement::since(started);
    agreement.compare.listed_inodes = false;
    agreement.compare.link_groups = false;
    if let Err(found) = agreement.layered(&case, &mut model, &mut union) {
        panic!("{found}\n\n{case:?}");
    }
}
