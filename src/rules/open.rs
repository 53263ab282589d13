//! Opening: which combinations are valid and which copy up (rules R194 to R197).

use crate::errno::Errno;
use crate::meta::FileType;
use crate::op::OpenOptions;
use crate::rules::permission::Mask;

/// Refuses what `open(2)` refuses, before any name is looked up.
///
/// # Errors
/// `EINVAL`: no access asked for; an unnamed file that is not to be written to, or is to be created
/// under a name as well.
pub(crate) fn check(o: &OpenOptions) -> Result<(), Errno> {
    if !o.read && !o.writes() {
        return Err(Errno::EINVAL);
    }
    if o.tmpfile && (!o.writes() || o.create || o.create_new) {
        return Err(Errno::EINVAL);
    }
    Ok(())
}

/// Refuses what an existing object of this type refuses to anybody.
///
/// # Errors
/// `EISDIR`: a directory opened for writing, truncating or creating. `ELOOP`: a symlink that is not
/// to be followed.
pub(crate) fn check_type(file_type: FileType, o: &OpenOptions) -> Result<(), Errno> {
    match file_type {
        FileType::Directory if o.create || o.writes() || o.truncate => Err(Errno::EISDIR),
        FileType::Symlink => Err(Errno::ELOOP),
        _ => Ok(()),
    }
}

/// Refuses what no file is opened for, to who may open the object.
///
/// # Errors
/// `ENXIO`: a fifo, socket or device: their content is not in any layer, and opening one could block
/// or reach a driver (deviation `OPEN-1`).
pub(crate) fn check_content(file_type: FileType) -> Result<(), Errno> {
    match file_type.is_special() {
        true => Err(Errno::ENXIO),
        false => Ok(()),
    }
}

/// What the caller must be able to do to the object (rule R286): truncating is writing.
pub(crate) fn mask(o: &OpenOptions) -> Mask {
    Mask::of(o.read, o.writes() || o.truncate, false)
}

/// Whether opening copies the object up: for writing or truncating, whatever is then done
/// (rules R194 to R196).
pub(crate) fn copies_up(o: &OpenOptions) -> bool {
    o.writes() || o.truncate
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r194_to_r196_table() {
        let read = OpenOptions::new().read(true);
        for (options, expected) in [
            (read.clone(), false),
            (read.clone().create(true), false),
            (read.clone().truncate(true), true),
            (OpenOptions::new().write(true), true),
            (OpenOptions::new().append(true), true),
            (read.write(true), true),
        ] {
            assert_eq!(copies_up(&options), expected, "{options:?}");
        }
        assert_eq!(check(&OpenOptions::new()), Err(Errno::EINVAL));
        assert_eq!(
            check(&OpenOptions::new().read(true).tmpfile(true)),
            Err(Errno::EINVAL)
        );
    }
}
