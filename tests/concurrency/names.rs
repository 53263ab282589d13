//! Several names of one file.

use std::io::Write;

use layerstack::OpenOptions;

use crate::stage::Stage;

const LINES: usize = 400;

/// Both names are of one file, however they were come by: what is appended through one does not
/// overwrite what is appended through the other, and both show one inode.
#[test]
fn appending_through_two_names_loses_nothing() {
    for stage in Stage::both(|| None) {
        let overlay = &stage.overlay;
        overlay.write("/dir/small", "").unwrap();
        overlay.hard_link("/dir/small", "/away/second").unwrap();
        overlay.hard_link("/away/second", "/dir/third").unwrap();
        let append = OpenOptions::new().append(true);
        std::thread::scope(|scope| {
            for name in ["/dir/small", "/away/second", "/dir/third"] {
                let mut file = overlay.open(name, &append).unwrap();
                scope.spawn(move || {
                    for _ in 0..LINES {
                        file.write_all(b"line\n").unwrap();
                    }
                });
            }
        });
        let inode = |name: &str| overlay.metadata(name).unwrap().ino;
        assert_eq!(inode("/dir/small"), inode("/away/second"));
        overlay.remove_file("/dir/small").unwrap();
        overlay
            .rename("/away/second", "/dir/small")
            .and_then(|()| overlay.remove_file("/dir/third"))
            .unwrap();
        assert_eq!(overlay.read("/dir/small").unwrap().len(), 3 * 5 * LINES);
        assert_eq!(overlay.metadata("/dir/small").unwrap().nlink, 1);
        stage.finish();
    }
}
