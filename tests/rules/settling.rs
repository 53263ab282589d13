//! Section 1: how options imply, exclude and adjust each other. Every combination goes to the kernel
//! and to the crate; what is then in force is read back from mountinfo and from
//! [`LayerStack::settings`].
//!
//! [`LayerStack::settings`]: layerstack::LayerStack::settings

use std::ffi::OsStr;

use layerstack::backend::LayerBackend;
use layerstack::{Errno, ErrorKind, MountOptions, Warning};

use crate::place::{Place, at_on};
use crate::support::fs::Fs;

/// What is in force: options that are no paths, as mountinfo shows them.
type InForce = Result<String, Errno>;

/// What mountinfo shows, without layers and flags of the VFS.
fn kernel(place: &Place, options: &str) -> InForce {
    place.renew();
    let shown = place.kernel_string(options, |m| m.shown())?;
    let shown = shown.into_string().unwrap();
    let paths = ["lowerdir=", "upperdir=", "workdir=", "ro", "rw"];
    let rest = shown.split(',');
    let rest = rest.filter(|o| !paths.iter().any(|p| o.starts_with(p)));
    Ok(rest.collect::<Vec<_>>().join(","))
}

fn ours(place: &Place, options: &str) -> Result<(String, Vec<Warning>), layerstack::Error> {
    place.renew();
    let union = MountOptions::parse(options)?.open()?;
    // Of a union of one filesystem mountinfo does not show `xino`, which then means nothing.
    let mut filesystems: Vec<_> = union.layers().iter().map(|l| l.identity().fs).collect();
    filesystems.extend(union.upper_layer().map(|l| l.identity().fs));
    let one = filesystems.iter().all(|fs| *fs == filesystems[0]);
    let shown = union.settings().to_string();
    let shown = shown.split(',').filter(|o| !one || !o.starts_with("xino="));
    let shown = shown.collect::<Vec<_>>().join(",");
    Ok((shown, union.warnings().to_vec()))
}

fn compare(place: &Place, options: &str) -> InForce {
    let kernel = kernel(place, options);
    let ours = ours(place, options);
    // No index is kept yet; what would be in force cannot be shown then.
    if ours.as_ref().is_err_and(|e| e.rule() == Some("R262")) {
        assert!(kernel.is_ok(), "{options}");
        return kernel;
    }
    let shown = ours
        .as_ref()
        .map(|(shown, _)| shown.clone())
        .map_err(|e| e.errno());
    assert_eq!(kernel, shown, "{options}: {ours:?}");
    if let Err(e) = ours {
        assert_eq!(e.kind(), ErrorKind::InvalidConfig, "{options}");
        assert!(e.conflict().is_some(), "{options}");
    }
    kernel
}

/// Every way to pick one of each.
fn product(choices: &[&[&str]]) -> Vec<String> {
    choices.iter().fold(vec![String::new()], |all, choice| {
        let with = |head: &String| {
            let one = |option: &&str| match (head.as_str(), *option) {
                (head, "") => head.to_string(),
                ("", option) => option.to_string(),
                (head, option) => format!("{head},{option}"),
            };
            choice.iter().map(one).collect::<Vec<_>>()
        };
        all.iter().flat_map(with).collect()
    })
}

const LAYERS: &[&str] = &["lowerdir=l,upperdir=u,workdir=w", "lowerdir=l:m"];
const REDIRECT: &[&str] = &[
    "",
    "redirect_dir=on",
    "redirect_dir=follow",
    "redirect_dir=nofollow",
    "redirect_dir=off",
];
const METACOPY: &[&str] = &["", "metacopy=on", "metacopy=off"];
const INDEX: &[&str] = &["", "index=on", "index=off"];
const EXPORT: &[&str] = &["", "nfs_export=on", "nfs_export=off"];
const USERXATTR: &[&str] = &["", "userxattr"];

fn all(place: &Place, choices: &[&[&str]]) {
    place.dir("l");
    place.dir("m");
    let (mut refused, mut mounted) = (0, 0);
    for options in product(choices) {
        match compare(place, &options) {
            Ok(_) => mounted += 1,
            Err(_) => refused += 1,
        }
    }
    println!("{mounted} combinations mounted, {refused} refused");
    assert!(mounted > 0);
}

#[test]
fn r026_r027_r028_r029_every_combination() {
    let choices = [LAYERS, REDIRECT, METACOPY, INDEX, EXPORT, USERXATTR];
    at_on(Fs::Tmpfs, &[], |place, _| all(place, &choices));
}

#[test]
fn r030_verity_goes_with_everything() {
    let verity: &[&str] = &["verity=on", "verity=require", "verity=off"];
    let choices = [LAYERS, REDIRECT, METACOPY, EXPORT, USERXATTR, verity];
    at_on(Fs::Tmpfs, &[], |place, _| {
        all(place, &choices);
        let with = |options: &str| compare(place, &format!("{},{options}", LAYERS[0]));
        assert_eq!(with("verity=on"), Ok("uuid=on,verity=on".into()));
        let user = "redirect_dir=nofollow,uuid=on,userxattr,verity=require";
        assert_eq!(with("userxattr,verity=require"), Ok(user.into()));
    });
}

#[test]
fn r025_identity_numbers_and_durability() {
    let uuid: &[&str] = &["", "uuid=on", "uuid=off", "uuid=null", "uuid=auto"];
    let xino: &[&str] = &["", "xino=on", "xino=off", "xino=auto"];
    let fsync: &[&str] = &[
        "",
        "fsync=auto",
        "fsync=strict",
        "fsync=volatile",
        "volatile",
    ];
    let choices = [LAYERS, uuid, xino, fsync, &["", "index=on"]];
    at_on(Fs::Tmpfs, &[], |place, _| all(place, &choices));
    // The same over two filesystems.
    at_on(Fs::Ext4, &[Fs::Tmpfs], |place, mounted| {
        let other = mounted.path(Fs::Tmpfs).join("other");
        std::fs::create_dir_all(&other).unwrap();
        std::fs::write(other.join("f"), "").unwrap();
        let layers = [
            format!("lowerdir={},upperdir=u,workdir=w", other.display()),
            format!("lowerdir={}:l,upperdir=u,workdir=w", other.display()),
            format!("lowerdir={}:l", other.display()),
        ];
        let layers: Vec<&str> = layers.iter().map(String::as_str).collect();
        let rest = [
            uuid,
            xino,
            &["", "fsync=volatile"][..],
            &["", "index=on", "nfs_export=on"],
        ];
        let choices: Vec<&[&str]> = [layers.as_slice()].into_iter().chain(rest).collect();
        all(place, &choices);
    });
}

#[test]
fn r027_r028_adjusted_with_a_warning() {
    at_on(Fs::Tmpfs, &[], |place, _| {
        place.dir("l");
        place.dir("m");
        let warnings = |options: &str| {
            let (_, warnings) = ours(place, options).unwrap();
            warnings.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        let none: [&str; 0] = [];
        assert_eq!(
            warnings(&format!("{},metacopy=on,nfs_export=off", LAYERS[0])),
            none
        );
        let got = warnings("lowerdir=l:m,nfs_export=on,volatile");
        let want = [
            "fsync is auto instead of volatile: there is no upper layer",
            "nfs_export is off instead of on: it needs redirect_dir=nofollow",
        ];
        assert_eq!(got, want);
        let checked = MountOptions::parse("lowerdir=l:m,workdir=w,index=on").unwrap();
        let checked = checked.check().unwrap();
        let options: Vec<_> = checked.iter().map(|w| (w.option, w.rule())).collect();
        assert_eq!(options, [("index", "R028"), ("workdir", "R006")]);
    });
}

#[test]
fn r292_default_permissions_means_nothing() {
    at_on(Fs::Tmpfs, &[], |place, _| {
        place.dir("l");
        std::fs::write("l/f", "x").unwrap();
        let options = format!("{},default_permissions", LAYERS[0]);
        let read = |m: &crate::support::mount::OverlayMount| {
            assert!(
                AsRef::<OsStr>::as_ref(&m.shown())
                    .to_str()
                    .unwrap()
                    .contains("default_permissions")
            );
            std::fs::read(m.path().join("f")).unwrap()
        };
        place.renew();
        assert_eq!(place.kernel_string(&options, read).unwrap(), b"x");
        place.renew();
        let union = crate::place::our_string(&options).unwrap();
        assert_eq!(union.read("/f").unwrap(), b"x");
        let plain = crate::place::our_string("lowerdir=l:m");
        assert_eq!(plain.map(|_| ()), Err(Errno::ENOENT), "m is missing");
    });
}

/// What a layer cannot do takes options away, in the kernel and here.
#[test]
fn r033_r034_r268_what_the_layers_cannot_do() {
    at_on(Fs::Ext4, &[Fs::Ramfs], |place, mounted| {
        let ramfs = mounted.path(Fs::Ramfs).join("lower");
        std::fs::create_dir_all(&ramfs).unwrap();
        place.dir("l");
        // A lower without file handles.
        let lower = format!("lowerdir={}:l,upperdir=u,workdir=w", ramfs.display());
        let rest = [EXPORT, INDEX, &["", "xino=auto", "xino=on"]];
        let layers = [lower.as_str()];
        let choices: Vec<&[&str]> = [&layers[..]].into_iter().chain(rest).collect();
        all(place, &choices);
        let warned = |options: &str| {
            let (_, warnings) = ours(place, &format!("{lower},{options}")).unwrap();
            let rules = warnings.iter().map(|w| (w.option, w.rule()));
            rules.collect::<Vec<_>>()
        };
        assert_eq!(warned("index=on"), [("index", "R268")]);
        assert_eq!(
            warned("nfs_export=on"),
            [("index", "R268"), ("nfs_export", "R268")]
        );
        assert_eq!(warned("xino=auto"), [("xino", "R268")]);
        assert_eq!(warned("xino=on"), []);
        // An upper that stores no attributes, and cannot leave a whiteout when it renames.
        let dir = |name: &str| {
            let path = mounted.path(Fs::Ramfs).join(name);
            let _ = std::fs::remove_dir_all(&path);
            std::fs::create_dir(&path).unwrap();
            path
        };
        for options in [
            "redirect_dir=on",
            "metacopy=on",
            "index=on",
            "uuid=on",
            "xino=auto",
            "ro",
        ] {
            let text = || {
                let (upper, work) = (dir("u"), dir("w"));
                format!(
                    "lowerdir=l,upperdir={},workdir={},{options}",
                    upper.display(),
                    work.display()
                )
            };
            let shown = place.kernel_string(text(), |m| m.shown()).unwrap();
            let in_force = |text: &str| {
                let skip = ["lowerdir=", "upperdir=", "workdir=", "ro", "rw"];
                let rest = text
                    .split(',')
                    .filter(|o| !skip.iter().any(|s| o.starts_with(s)));
                rest.map(String::from).collect::<Vec<_>>()
            };
            let union = MountOptions::parse(text()).unwrap().open().unwrap();
            let mine = in_force(&union.settings().to_string());
            assert_eq!(mine, in_force(shown.to_str().unwrap()), "{options}");
            assert!(
                union.warnings().iter().any(|w| w.rule() == "R033"),
                "{options}"
            );
        }
    });
}

/// Each ready-made set mounts, and means the same to the crate.
#[test]
fn r025_profiles_mean_the_same_to_both() {
    use layerstack::Profile;
    at_on(Fs::Ext4, &[], |place, _| {
        place.dir("l/d");
        for profile in Profile::ALL {
            let options = profile.mount_options().lower("l").upper("u", "w");
            let text = options.to_legacy().unwrap().into_string().unwrap();
            compare(place, &text).unwrap();
            place.renew();
            let renamed = place
                .kernel_string(&text, |m| {
                    let renamed = std::fs::rename(m.path().join("d"), m.path().join("e"));
                    renamed.map_err(|e| Errno::of_io(&e))
                })
                .unwrap();
            place.renew();
            let union = options.open().unwrap();
            assert_eq!(
                union.rename("/d", "/e").map_err(|e| e.errno()),
                renamed,
                "{profile:?}"
            );
            assert_eq!(renamed.is_ok(), *profile == Profile::Posix, "{profile:?}");
        }
    });
}
