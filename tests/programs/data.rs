//! Programs that care about data and locks.

use std::path::Path;

use crate::served::{require, through_mount, times};
use crate::site::{Site, sh};
use crate::support::fs::Fs;
use crate::support::namespace::in_mount_namespace;

const DATABASE: &str = "
    sqlite3 data.db 'create table t (id integer primary key, who, v); create index i on t (v)'
    for i in $(seq 200); do echo \"insert into t (who, v) values (0, $i);\"; done | sqlite3 data.db
    cp data.db wal.db
    sqlite3 wal.db 'pragma journal_mode = wal'
    cp data.db stays.db
";

/// Two processes at a time; sqlite locks ranges of the file with `fcntl(2)`, and in WAL mode shares memory.
fn insert(rows: usize) -> String {
    format!(
        "pids=
         for db in data.db wal.db; do
             for who in 1 2; do
                 for i in $(seq {rows}); do
                     echo \"pragma busy_timeout = 60000; insert into t (who, v) values ($who, $i);\"
                 done | sqlite3 $db > /dev/null & pids=\"$pids $!\"
             done
         done
         for pid in $pids; do wait $pid; done
         for db in data.db wal.db; do
             sqlite3 $db \"delete from t where id % 3 = 0; vacuum\"
             test \"$(sqlite3 $db 'pragma integrity_check')\" = ok
             test $(sqlite3 $db 'select count(*) from t') = $((200 + 2 * {rows} - (200 + 2 * {rows}) / 3))
         done
         test $(sqlite3 stays.db 'select count(*) from t') = 200"
    )
}

#[test]
fn a_database_under_load() {
    if require(&[Fs::Ext4], &["sqlite3"]) {
        in_mount_namespace(|| {
            let site = Site::new(Fs::Ext4, |lower| drop(sh(lower, DATABASE)));
            let script = insert(150 * times());
            through_mount(&site, |root| drop(sh(root, &script)));
        });
    }
}

/// Buffered, mapped and direct; of lower files that are copied up, and of new ones.
fn fio(root: &Path) {
    let size = 8 * times();
    for (engine, name, more) in [
        ("psync", "lower", ""),
        ("psync", "new", "--fsync=16"),
        ("mmap", "mapped", ""),
        ("psync", "direct", "--direct=1"),
    ] {
        let script = format!(
            "fio --name=verify --filename={name} --ioengine={engine} {more} --rw=randrw --bsrange=4k-64k \
             --size={size}m --verify=crc32c --verify_fatal=1 --do_verify=1 --minimal --randseed=7 \
             --fallocate=none > /dev/null
             fio --name=again --filename={name} --ioengine={engine} {more} --rw=write --bs=16k \
             --size={size}m --verify=crc32c --verify_fatal=1 --minimal --fallocate=posix > /dev/null"
        );
        sh(root, &script);
    }
    sh(root, "rm -f *.state");
}

#[test]
fn fio_verifies() {
    if require(&[Fs::Xfs], &["fio"]) {
        in_mount_namespace(|| {
            let site = Site::new(Fs::Xfs, |lower| {
                drop(sh(lower, "head -c 8M /dev/urandom > lower"));
            });
            through_mount(&site, fio);
        });
    }
}

/// Two processes add to one number, in a lower's file, under `flock(2)`.
#[test]
fn two_processes_lock() {
    if require(&[Fs::Tmpfs], &["flock"]) {
        in_mount_namespace(|| {
            let site = Site::new(Fs::Tmpfs, |lower| {
                drop(sh(lower, "echo 0 > number; : > lock"))
            });
            let each = 100 * times();
            let add = format!(
                "add() {{ for i in $(seq {each}); do
                     flock lock sh -c 'echo $(($(cat number) + 1)) > number'
                 done; }}
                 add & add & wait
                 test $(cat number) = $((2 * {each}))
                 exec 9> lock
                 flock 9
                 if flock -n lock true; then exit 1; fi
                 flock -u 9
                 flock -n lock true"
            );
            through_mount(&site, |root| drop(sh(root, &add)));
        });
    }
}
