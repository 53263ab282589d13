use layerstack::{
    Fate, FileType, HidingKind, LayerId, LayerStack, MissingReason, Overlay, OverlayAttr,
    OverlayOptions,
};

use layerstack::Name;
use layerstack::backend::memory::{MemLayer, MemLayerBuilder};
use layerstack::backend::{Entry, LayerBackend};

use crate::{layer, stack};

fn text(stack: &LayerStack, path: &str) -> String {
    stack.resolve(path).unwrap().to_string()
}

#[test]
fn texts() {
    let s = stack([
        layer("top")
            .file("etc/hosts", "new")
            .whiteout("etc/fstab")
            .opaque("opt")
            .file("opt/mine", "")
            .file("dir-to-file", "x")
            .dir("file-to-dir", 0o750)
            .owner("file-to-dir", 7, 8)
            .symlink("link", "etc/../etc/hosts")
            .symlink("dangling", "/etc/fstab")
            .symlink("loop", "loop"),
        layer("mid")
            .file("etc/hosts", "older")
            .file("file-to-dir", "x")
            .file("opt/app/bin/run", "x"),
        layer("base")
            .file("etc/hosts", "oldest")
            .file("etc/fstab", "x")
            .whiteout("opt/app/bin/run")
            .file("dir-to-file/a", "x")
            .file("file-to-dir/a", "x"),
    ]);
    let rows = [
        (
            "/etc/hosts",
            "/etc/hosts: file, mode 0644, owner 0:0, 3 bytes, from lower[0]
  lower[0] (top): file, shown
  lower[1] (mid): file, hidden by the file /etc/hosts in lower[0]
  lower[2] (base): file, hidden by the file /etc/hosts in lower[0]",
        ),
        (
            "/etc",
            "/etc: directory, mode 0755, owner 0:0, from lower[0], merged from 3 layers
  lower[0] (top): directory, shown
  lower[1] (mid): directory, merged
  lower[2] (base): directory, merged",
        ),
        (
            "/etc/fstab",
            "/etc/fstab: nothing is shown: /etc/fstab is hidden by the whiteout \
(character device 0:0) /etc/fstab in lower[0]
  lower[0] (top): whiteout (character device 0:0), hides what is below
  lower[2] (base): file, hidden by the whiteout (character device 0:0) /etc/fstab in lower[0]",
        ),
        (
            "/opt",
            "/opt: directory, mode 0755, owner 0:0, from lower[0]
  lower[0] (top): opaque directory, shown
  lower[1] (mid): directory, hidden by the opaque directory /opt in lower[0]
  lower[2] (base): directory, hidden by the opaque directory /opt in lower[0]",
        ),
        (
            "/opt/app/bin/run",
            "/opt/app/bin/run: nothing is shown: /opt/app is hidden with its parent by the opaque \
directory /opt in lower[0]
  lower[1] (mid): file, hidden with its parent by the opaque directory /opt in lower[0]
  lower[2] (base): whiteout (character device 0:0), hidden with its parent by the opaque \
directory /opt in lower[0]",
        ),
        (
            "/dir-to-file/a",
            "/dir-to-file/a: nothing is shown: /dir-to-file is a file, not a directory
  lower[2] (base): file, hidden with its parent by the file /dir-to-file in lower[0]",
        ),
        (
            "/file-to-dir",
            "/file-to-dir: directory, mode 0750, owner 7:8, from lower[0]
  lower[0] (top): directory, shown
  lower[1] (mid): file, hidden by the directory /file-to-dir in lower[0] (type change)
  lower[2] (base): directory, hidden by the file /file-to-dir in lower[1]",
        ),
        (
            "link",
            "link: file, mode 0644, owner 0:0, 3 bytes, from lower[0]
  symlink /link -> etc/../etc/hosts, from lower[0]
  leads to /etc/hosts
  lower[0] (top): file, shown
  lower[1] (mid): file, hidden by the file /etc/hosts in lower[0]
  lower[2] (base): file, hidden by the file /etc/hosts in lower[0]",
        ),
        (
            "/dangling",
            "/dangling: nothing is shown: /etc/fstab is hidden by the whiteout (character device \
0:0) /etc/fstab in lower[0]
  symlink /dangling -> /etc/fstab, from lower[0]
  leads to /etc/fstab
  lower[0] (top): whiteout (character device 0:0), hides what is below
  lower[2] (base): file, hidden by the whiteout (character device 0:0) /etc/fstab in lower[0]",
        ),
        (
            "/no/such/thing",
            "/no/such/thing: nothing is shown: /no is in no layer",
        ),
        (
            "/",
            "/: directory, mode 0755, owner 0:0, from lower[0], merged from 3 layers
  lower[0] (top): directory, shown
  lower[1] (mid): directory, merged
  lower[2] (base): directory, merged",
        ),
    ];
    for (path, expected) in rows {
        assert_eq!(text(&s, path), expected, "{path}");
    }
    let up = s
        .resolve("/opt/../etc/../opt/mine/..")
        .unwrap()
        .missing
        .unwrap();
    assert_eq!(up.reason, MissingReason::NotADirectory(FileType::Regular));
    let up = s.resolve("/file-to-dir/../opt/").unwrap().to_string();
    let direct = text(&s, "/opt");
    let (_, up) = up.split_once("/opt\n").unwrap();
    assert_eq!(up, direct.split_once('\n').unwrap().1);
    assert_eq!(s.resolve("/file-to-dir/..").unwrap().occurrences.len(), 3);
    let dotted = s.resolve("/etc/.").unwrap();
    assert_eq!(dotted.occurrences, s.resolve("/etc").unwrap().occurrences);
    let looped = s.resolve("/loop").unwrap();
    assert_eq!(looped.symlinks.len(), 40);
    assert_eq!(looped.missing.unwrap().reason, MissingReason::SymlinkLoop);
    let link = s.resolve_symlink("/link").unwrap();
    assert_eq!(link.shown.unwrap().metadata.file_type, FileType::Symlink);
    let slash = s.resolve("/etc/hosts/").unwrap().missing.unwrap();
    assert_eq!(
        slash.reason,
        MissingReason::NotADirectory(FileType::Regular)
    );
}

#[test]
fn r156_redirects_are_told() {
    let s = stack([
        layer("top").overlay_attr("new", OverlayAttr::Redirect, "/a/old"),
        layer("base").file("a/old/f", "x").file("new/g", "x"),
        layer("bottom").file("a/old/h", "x"),
    ]);
    assert_eq!(
        text(&s, "/new"),
        "/new: directory, mode 0755, owner 0:0, from lower[0], merged from 3 layers
  redirect of /new in lower[0] to /a/old below
  lower[0] (top): directory, shown
  lower[1] (base): directory at /a/old, merged
  lower[1] (base): directory, hidden by the redirect of /new in lower[0] to another path
  lower[2] (bottom): directory at /a/old, merged"
    );
    let below = s.resolve("/new/f").unwrap();
    assert_eq!(below.occurrences[0].path.to_str(), Some("/a/old/f"));
    assert_eq!(below.redirects.len(), 1);
    let hidden = s.resolve("/new/g").unwrap();
    let Some(MissingReason::Hidden(by)) = hidden.missing.map(|m| m.reason) else {
        panic!("the redirect hides /new/g");
    };
    assert_eq!((by.kind, by.parent), (HidingKind::Redirect, true));
}

#[test]
fn every_answer_agrees_with_the_other_operations() {
    let s = stack([
        layer("0")
            .whiteout("a/x")
            .opaque("b")
            .file("c", "")
            .file("d/e", ""),
        layer("1")
            .file("a/x/y", "")
            .file("b/x", "")
            .file("c/x", "")
            .xattr_whiteout("d"),
        layer("2")
            .file("a/y", "")
            .file("b/y/z", "")
            .file("d/f", "")
            .symlink("s", "a"),
    ]);
    for a in ["a", "b", "c", "d", "s", "q"] {
        for b in [
            "", "/x", "/y", "/y/z", "/e", "/f", "/x/y", "/..", "/", "/./x",
        ] {
            let path = format!("/{a}{b}");
            let answer = s.resolve(&path).unwrap();
            match s.metadata(&path) {
                Ok(meta) => {
                    let shown = answer.shown.as_ref().unwrap();
                    assert_eq!(shown.metadata, meta, "{path}");
                    let first = answer.contributors().next().unwrap();
                    assert_eq!(first.layer, shown.layer, "{path}");
                }
                Err(e) => {
                    let missing = answer.missing.as_ref().unwrap();
                    assert_eq!(missing.reason.errno(), e.errno(), "{path}: {answer}");
                }
            }
            assert_eq!(answer.shown.is_none(), answer.missing.is_some());
        }
    }
    assert_eq!(
        s.resolve("").unwrap_err().errno(),
        layerstack::Errno::ENOENT
    );
}

#[test]
fn a_deep_path_is_explained() {
    let path = "/d".repeat(3000);
    let s = stack([layer("0").opaque("d"), layer("1").dir(&path, 0o755)]);
    let answer = s.resolve(&path).unwrap();
    assert_eq!(answer.occurrences.len(), 1);
    let (o, by) = answer.hidden().next().unwrap();
    assert_eq!((o.layer, by.layer), (LayerId::Lower(1), LayerId::Lower(0)));
    assert_eq!(answer.missing.unwrap().path.to_str(), Some("/d/d"));
}

/// What one layer may hold at `a` and below.
const FORMS: usize = 10;

fn form(layer: MemLayerBuilder, which: usize) -> MemLayerBuilder {
    match which {
        0 => layer,
        1 => layer.file("a", "1"),
        2 => layer.symlink("a", "x"),
        3 => layer.whiteout("a"),
        4 => layer.file("a/x", "1").file("a/y/z", "1"),
        5 => layer.whiteout("a/x").file("a/y/q", "1"),
        6 => layer.opaque("a").file("a/x", "1").file("a/w", ""),
        7 => layer.file("a/x/k", "1").xattr_whiteout("a/y"),
        8 => layer
            .overlay_attr("a", OverlayAttr::Redirect, "b")
            .file("b/x", ""),
        _ => layer.opaque("a/y").file("a/y/q", ""),
    }
}

/// Whether the layer itself has the path.
fn holds(layer: &dyn LayerBackend, path: &str) -> bool {
    let mut node = layer.root().unwrap();
    let mut names = path.split('/').peekable();
    while let Some(name) = names.next() {
        match node.lookup(&Name::try_from(name).unwrap()).unwrap() {
            None => return false,
            Some(_) if names.peek().is_none() => return true,
            Some(Entry::Node(n, meta)) if meta.is_dir() => node = n,
            Some(_) => return false,
        }
    }
    true
}

#[test]
fn every_small_stack_is_explained_completely() {
    for case in 0..FORMS.pow(3) {
        let forms = [case % FORMS, case / FORMS % FORMS, case / FORMS / FORMS];
        let s = stack(forms.map(|f| form(layer("l"), f)));
        for path in [
            "a", "a/x", "a/x/k", "a/y", "a/y/z", "a/y/q", "a/w", "b", "b/x",
        ] {
            let answer = s.resolve_symlink(path).unwrap();
            let context = format!("{forms:?} {answer}");
            match s.symlink_metadata(path) {
                Ok(meta) => assert_eq!(answer.shown.as_ref().unwrap().metadata, meta, "{context}"),
                Err(e) => {
                    let missing = answer.missing.as_ref().unwrap();
                    assert_eq!(missing.reason.errno(), e.errno(), "{context}");
                }
            }
            let contributors: Vec<LayerId> = answer.contributors().map(|o| o.layer).collect();
            let walked = s.walk(format!("/{path}")).max_depth(0).next().unwrap();
            match walked {
                Ok(entry) if answer.shown.is_some() && answer.symlinks.is_empty() => {
                    let followed = answer.shown.unwrap().metadata.is_symlink();
                    if !followed {
                        assert_eq!(entry.layers().unwrap(), contributors, "{context}");
                    }
                }
                _ => {}
            }
            // The layers' own paths are those asked for only if no symlink led elsewhere.
            if !answer.symlinks.is_empty() {
                continue;
            }
            // Whatever a layer has there is told, and only that (redirects apart).
            let plain = format!("/{path}");
            for (i, l) in s.layers().iter().enumerate() {
                let told = answer
                    .occurrences
                    .iter()
                    .filter(|o| o.layer == LayerId::Lower(i) && o.path.to_str() == Some(&plain))
                    .count();
                assert_eq!(told, usize::from(holds(&**l, path)), "lower {i}: {context}");
            }
        }
    }
}

#[cfg(feature = "serde")]
#[test]
fn explanations_serialise_whatever_the_names() {
    use std::os::unix::ffi::OsStrExt;
    let path = std::path::Path::new(std::ffi::OsStr::from_bytes(b"/a\xff"));
    let s = stack([layer("0").file(path, "x"), layer("1").file(path, "y")]);
    let json = serde_json::to_value(s.resolve(path).unwrap()).unwrap();
    assert_eq!(json["real_path"], "/a\\xff");
    assert_eq!(json["shown"]["layer"]["Lower"], 0);
    assert_eq!(json["occurrences"][1]["fate"]["Hidden"]["path"], "/a\\xff");
}

/// Data-only layers are asked last; the first that has the path supplies the data.
#[test]
fn r185_r187_where_data_come_from() {
    let meta_only = |l: MemLayerBuilder, path: &str, to: &str| {
        l.file(path, "")
            .overlay_attr(path, OverlayAttr::Metacopy, "")
            .overlay_attr(path, OverlayAttr::Redirect, to)
    };
    let image = meta_only(layer("image"), "tool", "/ab/cd");
    let image = meta_only(image, "lost", "/ab/no").build().unwrap();
    let data = ["first", "second"].map(layer);
    let [first, second] = data.map(|l| l.dir("ab", 0o755));
    let data = [first, second.file("ab/cd", "content")].map(|l| l.build().unwrap());
    let s = LayerStack::from_top([image]).unwrap();
    let s = s.with_data_layers(data).unwrap();
    assert_eq!(
        text(&s, "/tool"),
        "/tool: file, mode 0644, owner 0:0, 0 bytes, from lower[0]
  redirect of /tool in lower[0] to /ab/cd below
  lower[0] (image): file, shown
  lower[2] (second): file at /ab/cd, supplies the data"
    );
    assert_eq!(
        text(&s, "/lost"),
        "/lost: file, mode 0644, owner 0:0, 0 bytes, from lower[0]
  redirect of /lost in lower[0] to /ab/no below
  lower[0] (image): file, shown
  lower[2] (second): unreadable: no such file or directory (ENOENT) at /ab/no, supplies the data"
    );
}

/// A hard link that was changed under another name is shown from the index.
#[test]
fn r262_what_the_index_holds_is_shown() {
    let low = layer("low").file("a", "old").hard_link("a", "b");
    let low = LayerStack::from_top([low.build().unwrap()]).unwrap();
    let options = OverlayOptions::new().index(true);
    let union = Overlay::with_options(&low, MemLayer::new(), options).unwrap();
    union.write("/a", "changed").unwrap();
    let shown = union.resolve("/b").unwrap();
    assert_eq!(shown.shown.as_ref().unwrap().metadata.size, 7);
    let fates: Vec<_> = shown
        .occurrences
        .iter()
        .map(|o| (o.layer, &o.fate))
        .collect();
    let [
        (LayerId::Lower(0), Fate::Hidden(by)),
        (LayerId::Work, Fate::Shown),
    ] = &fates[..]
    else {
        panic!("{fates:?}");
    };
    let (index, name) = (&shown.occurrences[1].path, &by.path);
    assert!(index.starts_with("/index") && index == name, "{shown}");
}
