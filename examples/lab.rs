//! The lab: layers on real directories, from the first merged listing to the kernel's opinion.
//!
//! `cargo run --example lab` makes a temporary folder, shows there what union layers do, checks every
//! statement that it prints, and removes the folder. It needs no privileges. Where the process may
//! mount (as root, or in a user namespace), it ends by mounting the kernel's overlayfs on the same
//! directories and comparing the two trees.

#[path = "lab/bench.rs"]
mod bench;
#[path = "lab/compare.rs"]
mod compare;
#[path = "lab/kernel.rs"]
mod kernel;
#[path = "lab/show.rs"]
mod show;

use std::fs;
use std::io::Write;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use layerstack::{ChangeKind, FileType, Held, LayerId, OpenOptions, OverlayAttr};

use bench::Bench;
use show::{Res, check, heading, note, say, text};

/// Size of the big file of step 7.
const BIG_BYTES: usize = 100 << 20;

fn main() -> Res {
    let bench = Bench::new()?;
    println!("The layerstack lab, in {}", bench.root.display());
    two_lowers(&bench)?;
    append(&bench)?;
    edit_again(&bench)?;
    remove_file(&bench)?;
    third_layer(&bench)?;
    recreate_directory(&bench)?;
    one_byte(&bench)?;
    explain(&bench)?;
    changes(&bench)?;
    ask_the_kernel(&bench)?;
    println!("\nEvery statement above was checked; the folder is removed.");
    Ok(())
}

fn two_lowers(bench: &Bench) -> Res {
    heading("1. Two lowers, one tree");
    bench.write("lower1/file1.txt", "first line\n")?;
    bench.write("lower1/file2.txt", "to be removed\n")?;
    bench.write("lower1/common.txt", "I am lower1's\n")?;
    bench.write("lower2/file3.txt", "from above\n")?;
    bench.write("lower2/common.txt", "I am lower2's\n")?;
    bench.show_layers(&["lower2", "lower1"])?;

    let overlay = bench.open(&["lower2", "lower1"])?;
    say("the merged tree, with the layer that supplies each name:");
    let entries = overlay.read_dir_sorted("/")?;
    for entry in &entries {
        text(&format!("{:<12} {}", entry.name.to_string(), entry.layer));
    }
    let names: Vec<String> = entries.iter().map(|e| e.name.to_string()).collect();
    let four = ["common.txt", "file1.txt", "file2.txt", "file3.txt"];
    check("the two layers show four names", names == four)?;
    let common = overlay.read_to_string("/common.txt")?;
    check(
        "common.txt is lower2's, the topmost",
        common == "I am lower2's\n",
    )?;
    check("upper is empty", bench.files_in("upper")?.is_empty())
}

fn append(bench: &Bench) -> Res {
    heading("2. Appending to a lower file copies that file up");
    let overlay = bench.open(&["lower2", "lower1"])?;
    let options = OpenOptions::new().append(true);
    let mut file = overlay.open("/file1.txt", &options)?;
    file.write_all(b"second line\n")?;
    file.close();
    say("after appending \"second line\" to file1.txt:");
    bench.show_layers(&["upper", "lower1"])?;
    let upper = bench.files_in("upper")?;
    check(
        "upper holds file1.txt and nothing else",
        upper == ["file1.txt"],
    )?;
    let lower = fs::read(bench.path("lower1/file1.txt"))?;
    check("lower1's bytes are as before", lower == b"first line\n")?;
    let merged = overlay.read("/file1.txt")?;
    check(
        "the merged file has both lines",
        merged == b"first line\nsecond line\n",
    )
}

fn edit_again(bench: &Bench) -> Res {
    heading("3. Three more edits, still one copy");
    let overlay = bench.open(&["lower2", "lower1"])?;
    let ino = fs::metadata(bench.path("upper/file1.txt"))?.ino();
    for n in 3..=5 {
        let options = OpenOptions::new().append(true);
        let mut file = overlay.open("/file1.txt", &options)?;
        writeln!(file, "line {n}")?;
        text(&format!(
            "edit {}: upper holds {:?}",
            n - 2,
            bench.files_in("upper")?
        ));
    }
    let copies = bench.files_in("upper")?.len() + bench.files_in("work")?.len();
    check("there is exactly one copy, none left in work", copies == 1)?;
    let same = fs::metadata(bench.path("upper/file1.txt"))?.ino() == ino;
    check("it is still the inode of the first copy-up", same)?;
    let lines = overlay.read_to_string("/file1.txt")?.lines().count();
    check("the merged file has five lines", lines == 5)
}

fn remove_file(bench: &Bench) -> Res {
    heading("4. Removing a lower file leaves a whiteout");
    let overlay = bench.open(&["lower2", "lower1"])?;
    overlay.remove_file("/file2.txt")?;
    say("upper on disk:");
    bench.list("upper")?;
    let meta = fs::symlink_metadata(bench.path("upper/file2.txt"))?;
    let whiteout = meta.file_type().is_char_device() && meta.rdev() == 0;
    check(
        "file2.txt in upper is a character device 0, 0: a whiteout",
        whiteout,
    )?;
    check(
        "the merged tree has no file2.txt",
        !overlay.exists("/file2.txt")?,
    )?;
    let lower = fs::read(bench.path("lower1/file2.txt"))?;
    check("lower1 still has it", lower == b"to be removed\n")
}

fn third_layer(bench: &Bench) -> Res {
    heading("5. Closed, and opened again above a third layer");
    bench.write("lower0/holiday/beach.txt", "sand\n")?;
    bench.write("lower0/holiday/more/sea.txt", "salt\n")?;
    bench.write("lower0/file2.txt", "an even older one\n")?;
    fs::write(bench.path("lower0/big.bin"), big())?;
    say("lower0 lies below lower1 and has holiday/, big.bin and a file2.txt of its own.");
    let overlay = bench.open(&bench::ALL)?;
    say("the merged tree, walked:");
    let mut names = Vec::new();
    for entry in overlay.walk("/").sort(true).min_depth(1) {
        let entry = entry?;
        let path = entry.path().display().to_string();
        text(&format!("{path:<24} {}", entry.layer()));
        names.push(path);
    }
    let holiday = ["/holiday", "/holiday/beach.txt", "/holiday/more"];
    let there = holiday.iter().all(|name| names.iter().any(|n| n == name));
    check("what lower0 adds is there", there)?;
    check(
        "the whiteout hides lower0's file2.txt too",
        !overlay.exists("/file2.txt")?,
    )?;
    let lines = overlay.read_to_string("/file1.txt")?.lines().count();
    check("file1.txt kept its five lines", lines == 5)
}

fn recreate_directory(bench: &Bench) -> Res {
    heading("6. A directory removed and made again is opaque");
    let overlay = bench.open(&bench::ALL)?;
    overlay.remove_dir_all("/holiday")?;
    check("/holiday is gone", !overlay.exists("/holiday")?)?;
    overlay.create_dir("/holiday", 0o755)?;
    say("upper on disk:");
    bench.list("upper")?;
    let name = OverlayAttr::Opaque.full_name(bench.namespace);
    let value = xattr::get(bench.path("upper/holiday"), name.to_string())?;
    text(&format!(
        "holiday: {name} = {:?}",
        String::from_utf8_lossy(value.as_deref().unwrap_or_default())
    ));
    check("it is opaque on disk", value.as_deref() == Some(b"y"))?;
    check(
        "it is empty in the merged tree",
        overlay.read_dir("/holiday")?.is_empty(),
    )?;
    let shown = overlay.xattrs("/holiday", true)?.contains(&name);
    check("the merged tree does not list that attribute", !shown)?;
    let beach = bench.path("lower0/holiday/beach.txt").exists();
    check("lower0 still has what was in it", beach)
}

fn one_byte(bench: &Bench) -> Res {
    heading("7. One byte of a 100 MiB file");
    let overlay = bench.open(&bench::ALL)?;
    let op = bench::write_one_byte("/big.bin", (BIG_BYTES / 2) as u64);
    let plan = overlay.plan(&op)?;
    let cost = plan.cost();
    say("the plan, made before anything is touched:");
    for line in plan.to_string().lines() {
        text(line);
    }
    say(&format!(
        "it would copy {} and create {} file(s)",
        show::size(cost.data_bytes),
        cost.files_created
    ));
    check(
        "planning did nothing",
        !bench.path("upper/big.bin").exists(),
    )?;

    let done = bench.measure(|| Ok(overlay.apply(&op).map(|_| ())?))?;
    let blocks = fs::metadata(bench.path("upper/big.bin"))?.blocks();
    say(&format!(
        "it did copy {} in {:.2} s; upper's file takes {} of the disk, and took none before",
        show::size(done.bytes),
        done.seconds,
        show::size(blocks * 512),
    ));
    check(
        "the copy-up copied exactly what was planned",
        done.bytes == cost.data_bytes && done.bytes == BIG_BYTES as u64,
    )?;
    let again = bench.measure(|| Ok(overlay.apply(&op).map(|_| ())?))?;
    check("a second write copies nothing more", again.bytes == 0)?;

    let expected = big();
    let lower = fs::read(bench.path("lower0/big.bin"))?;
    check("lower0's file is byte for byte the same", lower == expected)?;
    let merged = overlay.read("/big.bin")?;
    let differ = merged.iter().zip(&lower).filter(|(a, b)| a != b).count();
    check(
        "the merged file differs in exactly one byte",
        merged.len() == lower.len() && differ == 1,
    )
}

fn explain(bench: &Bench) -> Res {
    heading("8. Why do I not see what is on the disk?");
    let overlay = bench.open(&bench::ALL)?;
    let answer = overlay.resolve("/file2.txt")?;
    show::explanation(&answer, &bench.root);
    let hidden: Vec<LayerId> = answer.hidden().map(|(o, _)| o.layer).collect();
    check(
        "upper's whiteout hides the file of lower1 and of lower0",
        answer.shown.is_none() && hidden == [LayerId::Lower(1), LayerId::Lower(2)],
    )?;
    let answer = overlay.resolve("/holiday/beach.txt")?;
    show::explanation(&answer, &bench.root);
    let parent = answer.hidden().any(|(_, by)| by.parent);
    check("the opaque directory hides beach.txt", parent)?;
    let answer = overlay.resolve("/common.txt")?;
    show::explanation(&answer, &bench.root);
    let mut hidden = answer.hidden();
    let below = hidden.next().is_some_and(|(o, by)| {
        o.layer == LayerId::Lower(1)
            && o.held == Held::Node(FileType::Regular)
            && by.layer == LayerId::Lower(0)
    });
    check("lower2's common.txt hides lower1's", below)
}

fn changes(bench: &Bench) -> Res {
    heading("9. What did upper change, in all?");
    let overlay = bench.open(&bench::ALL)?;
    overlay.set_permissions("/file3.txt", 0o600)?;
    say("after a last change, of the mode of file3.txt:");
    let changes = overlay.changes()?;
    let mut found = Vec::new();
    for change in &changes {
        let path = change.path.display().to_string();
        text(&format!("{:<12} {path}", show::change(change.kind)));
        found.push((path, change.kind));
    }
    let expected = [
        ("/big.bin", ChangeKind::Modified),
        ("/file1.txt", ChangeKind::Modified),
        ("/file2.txt", ChangeKind::Removed),
        ("/file3.txt", ChangeKind::Metadata),
        ("/holiday/beach.txt", ChangeKind::Removed),
        ("/holiday/more", ChangeKind::Removed),
        ("/holiday/more/sea.txt", ChangeKind::Removed),
    ];
    let expected = expected.map(|(path, kind)| (path.to_string(), kind));
    check("these are all changes, and no other", found == expected)?;
    let copied = fs::metadata(bench.path("upper/file3.txt"))?;
    check(
        "the copy of file3.txt in upper kept the time of lower2's",
        copied.mtime() == bench::OLD_SECONDS && copied.mtime_nsec() == 123_456_789,
    )
}

fn ask_the_kernel(bench: &Bench) -> Res {
    heading("10. What does the kernel say?");
    let overlay = bench.open(&bench::ALL)?;
    let ours = compare::of_union(&overlay)?;
    drop(overlay);
    let mount = match kernel::mount(&bench.root, &bench::ALL, bench.namespace) {
        Ok(mount) => mount,
        Err(kernel::NotMounted(reason)) => {
            say(&format!("skipped: {reason}"));
            return Ok(());
        }
    };
    text(&format!("mount {}", mount.command));
    let theirs = compare::of_directory(&mount.at)?;
    for line in compare::differences(&ours, &theirs) {
        text(&line);
    }
    note("type, mode, owner, size, time, content, link target, attributes, device number");
    check(
        &format!(
            "the kernel shows the same {} objects, equal in all of these",
            ours.len()
        ),
        ours == theirs,
    )?;
    fs::write(mount.at.join("holiday/from-the-kernel.txt"), "hello\n")?;
    fs::remove_file(mount.at.join("file3.txt"))?;
    let theirs = compare::of_directory(&mount.at)?;
    mount.unmount()?;
    let ours = compare::of_union(&*bench.open(&bench::ALL)?)?;
    check(
        "and what the kernel then changed there, layerstack shows",
        ours == theirs && ours.contains_key(Path::new("/holiday/from-the-kernel.txt")),
    )
}

/// Bytes that are not all alike, the same at each call.
fn big() -> Vec<u8> {
    let mut data = Vec::with_capacity(BIG_BYTES);
    for block in 0..BIG_BYTES >> 20 {
        let mut bytes = vec![block as u8; 1 << 20];
        bytes.splice(..8, block.to_le_bytes());
        data.extend_from_slice(&bytes);
    }
    data
}
