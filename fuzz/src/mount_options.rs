//! Any bytes as mount options: no panic, and what is understood is understood again when it is
//! written, in every form.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use layerstack::MountOptions;

fn written_again(options: &MountOptions) {
    if let Ok(text) = options.to_legacy() {
        let again = MountOptions::parse(&text).expect("what was written");
        assert_eq!(again, *options);
        assert_eq!(
            options.fits_one_page(),
            text.len() <= layerstack::MOUNT_OPTIONS_BYTES_MAX
        );
    }
    if let Ok(pairs) = options.to_pairs() {
        let again = MountOptions::from_pairs(pairs).expect("what was written");
        assert_eq!(again, *options);
    }
    if let Some(short) = options.shortened() {
        let paths = short.options.lowers().iter().zip(options.lowers());
        for (short_path, path) in paths {
            let whole = short.directory.join(short_path);
            let same: Vec<_> = whole.components().collect();
            let want: Vec<_> = path.components().collect();
            let dot = short_path.as_os_str() == ".";
            assert!(same == want || dot, "{whole:?} is not {path:?}");
        }
    }
    // Nothing is opened.
    let _ = options.check();
}

/// Checks one input.
pub fn check(data: &[u8]) {
    let text = OsStr::from_bytes(data);
    for options in [
        MountOptions::parse(text),
        MountOptions::from_mounts(text),
        MountOptions::parse_command(text).map(|(options, _)| options),
    ]
    .into_iter()
    .flatten()
    {
        written_again(&options);
    }
    let pairs =
        data.split(|b| *b == 0)
            .map(|option| match option.iter().position(|b| *b == b'=') {
                Some(at) => {
                    let value = option.get(at + 1..).unwrap_or_default();
                    (
                        OsStr::from_bytes(option.get(..at).unwrap_or_default()),
                        Some(OsStr::from_bytes(value)),
                    )
                }
                None => (OsStr::from_bytes(option), None),
            });
    if let Ok(options) = MountOptions::from_pairs(pairs) {
        written_again(&options);
    }
}
