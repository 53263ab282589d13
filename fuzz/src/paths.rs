//! Any bytes as a path: an answer or an error, the same from a lookup and from its explanation.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::LazyLock;

use layerstack::LayerStack;
use layerstack::backend::memory::MemLayer;

static STACK: LazyLock<LayerStack> = LazyLock::new(|| {
    let base = MemLayer::builder()
        .file("a/b/c", b"1")
        .file("d/e", b"2")
        .symlink("l", b"a/b")
        .symlink("loop", b"loop")
        .symlink("up", b"../../d")
        .build();
    let top = MemLayer::builder()
        .whiteout("a/b/c")
        .opaque("d")
        .file("x", b"3")
        .symlink("a/abs", b"/d/")
        .build();
    let layers = [top, base].map(|layer| layer.expect("a layer"));
    LayerStack::from_top(layers).expect("a stack")
});

/// Checks one input.
pub fn check(bytes: &[u8]) {
    let path = Path::new(OsStr::from_bytes(bytes));
    let meta = STACK.metadata(path);
    let answer = STACK.resolve(path);
    match (&meta, &answer) {
        (Ok(meta), Ok(answer)) => {
            let shown = answer.shown.as_ref().map(|shown| &shown.metadata);
            assert_eq!(shown, Some(meta));
        }
        (Err(e), Ok(answer)) => {
            let missing = answer
                .missing
                .as_ref()
                .map(|missing| missing.reason.errno());
            assert_eq!(missing, Some(e.errno()));
        }
        (Err(a), Err(b)) => assert_eq!(a.errno(), b.errno()),
        (Ok(_), Err(e)) => panic!("shown, but not explained: {e}"),
    }
    if let Ok(answer) = &answer {
        assert!(!answer.to_string().is_empty());
    }
    if let Err(e) = &meta {
        assert!(!e.to_string().contains('\n'), "{e}");
    }
}
