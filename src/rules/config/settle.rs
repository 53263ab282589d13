//! How options settle: what implies what, what excludes what, and what falls back.
//!
//! Pure: everything that depends on the layers or the process comes in as [`Facts`]. The order of the
//! steps is the kernel's, since each looks at what the ones before have left.

use super::conflict::OptionConflict;
use super::facts::{Facts, Handles, StoredUuid};
use super::{Fsync, RedirectDir, Requested, Settings, UuidMode, Verity, Xino};
use crate::error::LayerId;
use crate::rules::inode::Numbering;
use crate::rules::warning::{Warning, WarningReason};
use crate::xattr_name::XattrNamespace;

/// What is in force, and what was adjusted on the way there.
#[derive(Clone, Debug)]
pub(crate) struct Settled {
    pub(crate) settings: Settings,
    pub(crate) numbering: Numbering,
    /// Filesystems whose origins cannot be told from those of others: they are not decoded
    /// (rule R268).
    pub(crate) bad_uuids: Vec<usize>,
    /// A new identity is to be stored on the upper's root.
    pub(crate) store_uuid: bool,
    pub(crate) warnings: Vec<Warning>,
}

struct Settling<'a> {
    asked: Requested,
    facts: &'a Facts,
    now: Settings,
    /// `index=on` without an upper counts as not asked for.
    index_asked: bool,
    /// Bits for the filesystem's number, as far as decided.
    xino_bits: Option<u32>,
    bad_uuids: Vec<usize>,
    warnings: Vec<Warning>,
}

impl Requested {
    /// What is in force under these circumstances.
    ///
    /// # Errors
    /// Options that exclude each other, or need what this process may not do.
    pub(crate) fn settle(self, facts: &Facts) -> Result<Settled, OptionConflict> {
        let mut s = Settling::new(self, facts);
        s.verify()?;
        s.upper();
        s.lowers();
        let filesystems = s.filesystems();
        let numbering = s.numbering(filesystems);
        let store_uuid = s.uuid(filesystems);
        s.now.index &= facts.upper.is_some();
        Ok(Settled {
            settings: s.now,
            numbering,
            bad_uuids: s.bad_uuids,
            store_uuid,
            warnings: s.warnings,
        })
    }

    /// Only what can be told without the layers: the options against each other and against this
    /// process (rules R026 to R032).
    ///
    /// # Errors
    /// As [`Requested::settle`].
    pub(crate) fn verify(self, facts: &Facts) -> Result<Vec<Warning>, OptionConflict> {
        let mut s = Settling::new(self, facts);
        s.verify().map(|()| s.warnings)
    }
}

impl<'a> Settling<'a> {
    fn new(asked: Requested, facts: &'a Facts) -> Self {
        let defaults = &facts.defaults;
        let not_on = match defaults.redirect_always_follow {
            true => RedirectDir::Follow,
            false => RedirectDir::NoFollow,
        };
        let redirect_dir = match asked.redirect_dir {
            None if defaults.redirect_dir => RedirectDir::On,
            None | Some(RedirectDir::Off) => not_on,
            Some(value) => value,
        };
        let xino = match defaults.xino_auto {
            true => Xino::Auto,
            false => Xino::Off,
        };
        let xino = asked.xino.unwrap_or(xino);
        Settling {
            now: Settings {
                redirect_dir,
                metacopy: asked.metacopy.unwrap_or(defaults.metacopy),
                index: asked.index.unwrap_or(defaults.index),
                nfs_export: asked.nfs_export.unwrap_or(defaults.nfs_export),
                xino,
                uuid: asked.uuid.unwrap_or(UuidMode::Auto),
                fsync: asked.fsync.unwrap_or(Fsync::Auto),
                verity: asked.verity.unwrap_or(Verity::Off),
                userxattr: facts.namespace == XattrNamespace::User,
            },
            index_asked: asked.index.is_some(),
            xino_bits: (xino != Xino::Off).then_some(32),
            bad_uuids: Vec::new(),
            warnings: Vec::new(),
            asked,
            facts,
        }
    }

    fn warn(
        &mut self,
        option: &'static str,
        wanted: &'static str,
        used: &'static str,
        reason: WarningReason,
    ) {
        self.warnings
            .push(Warning::new(option, wanted, used, reason));
    }

    fn drop_index(&mut self, reason: WarningReason) {
        // Without an upper it is on only as far as `nfs_export` implies it.
        if std::mem::take(&mut self.now.index) && self.facts.upper.is_some() {
            self.warn("index", "on", "off", reason);
        }
    }

    fn drop_nfs_export(&mut self, reason: WarningReason) {
        if std::mem::take(&mut self.now.nfs_export) {
            self.warn("nfs_export", "on", "off", reason);
        }
    }

    fn drop_metacopy(&mut self, reason: WarningReason) {
        if std::mem::take(&mut self.now.metacopy) {
            self.warn("metacopy", "on", "off", reason);
        }
    }

    fn drop_xino_auto(&mut self, reason: WarningReason) {
        if self.now.xino == Xino::Auto {
            self.now.xino = Xino::Off;
            self.warn("xino", "auto", "off", reason);
        }
    }

    /// The options against each other.
    fn verify(&mut self) -> Result<(), OptionConflict> {
        if self.facts.upper.is_none() {
            self.without_upper();
        }
        self.metacopy_needs_redirects()?;
        self.nfs_export_needs_index()?;
        self.nfs_export_excludes_metacopy()?;
        if self.now.userxattr {
            self.userxattr_excludes()?;
        } else if !self.facts.permitted {
            self.unprivileged()?;
        }
        Ok(())
    }

    fn without_upper(&mut self) {
        let now = &mut self.now;
        let index = std::mem::take(&mut now.index) && self.asked.index == Some(true);
        if now.redirect_dir == RedirectDir::Follow {
            now.redirect_dir = RedirectDir::On; // Makes no difference (rule R026).
        }
        let fsync = now.fsync;
        if !fsync.syncs() {
            now.fsync = Fsync::Auto;
        }
        let uuid = now.uuid;
        if uuid == UuidMode::On {
            now.uuid = UuidMode::Null;
        }
        if index {
            self.index_asked = false;
            self.warn("index", "on", "off", WarningReason::NoUpper);
        }
        if fsync == Fsync::Volatile {
            self.warn("fsync", "volatile", "auto", WarningReason::NoUpper);
        }
        if uuid == UuidMode::On {
            self.warn("uuid", "on", "null", WarningReason::NoUpper);
        }
    }

    /// Rule R027.
    fn metacopy_needs_redirects(&mut self) -> Result<(), OptionConflict> {
        if !self.now.metacopy || self.now.redirect_dir == RedirectDir::On {
            return Ok(());
        }
        match (self.asked.metacopy, self.asked.redirect_dir) {
            (Some(_), Some(value)) => {
                return Err(OptionConflict::Options {
                    first: "metacopy=on",
                    second: redirect_option(value),
                });
            }
            (None, Some(value)) => {
                self.drop_metacopy(WarningReason::Contradicted(redirect_option(value)));
            }
            (_, None) => self.now.redirect_dir = RedirectDir::On,
        }
        Ok(())
    }

    /// Rule R028.
    fn nfs_export_needs_index(&mut self) -> Result<(), OptionConflict> {
        if !self.now.nfs_export || self.now.index {
            return Ok(());
        }
        if self.facts.upper.is_none() && self.now.redirect_dir != RedirectDir::NoFollow {
            self.drop_nfs_export(WarningReason::Missing("redirect_dir=nofollow"));
            return Ok(());
        }
        if self.asked.nfs_export.is_some() && self.index_asked {
            return Err(OptionConflict::Options {
                first: "nfs_export=on",
                second: "index=off",
            });
        }
        if self.index_asked {
            self.drop_nfs_export(WarningReason::Contradicted("index=off"));
        } else {
            self.now.index = true;
        }
        Ok(())
    }

    /// Rule R028.
    fn nfs_export_excludes_metacopy(&mut self) -> Result<(), OptionConflict> {
        if !self.now.nfs_export || !self.now.metacopy {
            return Ok(());
        }
        match (self.asked.nfs_export, self.asked.metacopy) {
            (Some(_), Some(_)) => {
                return Err(OptionConflict::Options {
                    first: "nfs_export=on",
                    second: "metacopy=on",
                });
            }
            (None, Some(_)) => self.drop_nfs_export(WarningReason::Contradicted("metacopy=on")),
            (_, None) => self.drop_metacopy(WarningReason::Contradicted("nfs_export=on")),
        }
        Ok(())
    }

    /// Rule R029. What is on by default only goes off without a word.
    fn userxattr_excludes(&mut self) -> Result<(), OptionConflict> {
        let conflict = |second| OptionConflict::Options {
            first: "userxattr",
            second,
        };
        if let Some(value) = self.asked.redirect_dir
            && self.now.redirect_dir != RedirectDir::NoFollow
        {
            return Err(conflict(redirect_option(value)));
        }
        if self.now.metacopy && self.asked.metacopy.is_some() {
            return Err(conflict("metacopy=on"));
        }
        self.now.redirect_dir = RedirectDir::NoFollow;
        self.now.metacopy = false;
        Ok(())
    }

    /// Rule R032. What is on by default only is dropped later, where it turns out not to work.
    fn unprivileged(&mut self) -> Result<(), OptionConflict> {
        let refused = |option| Err(OptionConflict::Privilege { option });
        if let Some(value) = self.asked.redirect_dir
            && self.now.redirect_dir != RedirectDir::NoFollow
        {
            return refused(redirect_option(value));
        }
        if self.now.metacopy && self.asked.metacopy.is_some() {
            return refused("metacopy=on");
        }
        match self.now.verity {
            Verity::Off => {}
            Verity::On => return refused("verity=on"),
            Verity::Require => return refused("verity=require"),
        }
        if self.facts.data_layers > 0 {
            return refused("a data-only layer");
        }
        Ok(())
    }

    /// What the upper can do (rules R033, R268).
    fn upper(&mut self) {
        let Some(upper) = self.facts.upper else {
            return;
        };
        if !upper.storable {
            self.nothing_storable();
        }
        if upper.handles == Handles::None {
            self.drop_index(WarningReason::NoFileHandles(LayerId::Upper));
        }
        if upper.handles != Handles::Ino32 {
            self.xino_bits = None;
        }
        if !self.now.index {
            self.drop_nfs_export(WarningReason::Missing("index=on"));
        }
    }

    fn nothing_storable(&mut self) {
        let why = || WarningReason::NoOverlayAttrs;
        let redirect = self.now.redirect_dir;
        if redirect != RedirectDir::NoFollow {
            self.now.redirect_dir = RedirectDir::NoFollow;
            self.warn("redirect_dir", redirect.name(), "nofollow", why());
        }
        self.drop_metacopy(why());
        self.drop_index(why());
        let uuid = self.now.uuid;
        if matches!(uuid, UuidMode::On | UuidMode::Auto) {
            self.now.uuid = UuidMode::Null;
            self.warn("uuid", uuid.name(), "null", why());
        }
        self.drop_xino_auto(why());
    }

    /// What the lowers' file handles permit (rule R268).
    fn lowers(&mut self) {
        let has_upper = self.facts.upper.is_some();
        for (i, lower) in self.facts.lowers.iter().enumerate() {
            if lower.handles == Handles::None {
                let why = || WarningReason::NoFileHandles(LayerId::Lower(i));
                self.drop_index(why());
                self.drop_nfs_export(why());
                if has_upper {
                    self.drop_xino_auto(why());
                }
            }
            if lower.handles != Handles::Ino32 {
                self.xino_bits = None;
            }
        }
    }

    /// Which filesystems cannot be told from others (rule R268). Answers how many there are, the place
    /// of an upper's counted in any case (rule R254).
    fn filesystems(&mut self) -> usize {
        let merged = self.facts.lowers.len() - self.facts.data_layers.min(self.facts.lowers.len());
        let mut seen: Vec<(usize, [u8; 16])> = Vec::new();
        let mut count = 1;
        for (i, lower) in self.facts.lowers.iter().take(merged).enumerate() {
            if lower.fs == 0 {
                let uuid = lower.uuid.unwrap_or_default();
                if !seen.iter().any(|(fs, _)| *fs == 0) {
                    seen.push((0, uuid));
                }
                continue;
            }
            if seen.iter().any(|(fs, _)| *fs == lower.fs) {
                continue;
            }
            count += 1;
            let uuid = lower.uuid.unwrap_or_default();
            if let Some(why) = self.bad_uuid(i, uuid, &seen) {
                self.bad_uuids.push(lower.fs);
                self.drop_xino_auto(why.clone());
                self.drop_index(why.clone());
                self.drop_nfs_export(why);
            }
            seen.push((lower.fs, uuid));
        }
        count
    }

    fn bad_uuid(
        &mut self,
        lower: usize,
        uuid: [u8; 16],
        seen: &[(usize, [u8; 16])],
    ) -> Option<WarningReason> {
        if !self.now.nfs_export && self.facts.upper.is_none() {
            return None;
        }
        let lower = LayerId::Lower(lower);
        if uuid == [0; 16] && self.now.features().allow_offline_changes() {
            return Some(WarningReason::NoFilesystemUuid(lower));
        }
        let (other, _) = seen.iter().find(|(_, known)| *known == uuid)?;
        self.bad_uuids.push(*other);
        Some(match uuid == [0; 16] {
            true => WarningReason::NoFilesystemUuid(lower),
            false => WarningReason::SharedFilesystemUuid(lower),
        })
    }

    /// How inode numbers are made unique (rules R249 to R254).
    fn numbering(&mut self, filesystems: usize) -> Numbering {
        let real = match self.facts.upper {
            Some(_) => filesystems,
            None => filesystems - 1,
        };
        if real <= 1 {
            return Numbering::OneFilesystem;
        }
        match (self.now.xino, self.xino_bits) {
            (Xino::Off, _) => Numbering::PerFilesystem,
            (_, Some(bits)) => Numbering::Xino { bits },
            (_, None) => {
                let bits = (filesystems - 1).checked_ilog2().unwrap_or(0) + 2;
                Numbering::Xino { bits }
            }
        }
    }

    /// Where the identity comes from (rule R037). Answers whether a new one is to be stored.
    fn uuid(&mut self, filesystems: usize) -> bool {
        let Some(upper) = self.facts.upper else {
            if self.now.uuid == UuidMode::Off {
                self.now.uuid = UuidMode::Null;
                let why = WarningReason::SeveralFilesystems;
                self.warn("uuid", "off", "null", why);
            }
            return false;
        };
        match (self.now.uuid, upper.uuid) {
            (UuidMode::Off, _) if filesystems > 1 => {
                self.now.uuid = UuidMode::Null;
                let why = WarningReason::SeveralFilesystems;
                self.warn("uuid", "off", "null", why);
                false
            }
            (UuidMode::Off | UuidMode::Null, _) | (_, StoredUuid::Present) => false,
            (uuid, StoredUuid::Unusable) => {
                self.now.uuid = UuidMode::Null;
                self.warn("uuid", uuid.name(), "null", WarningReason::UnusableUuid);
                false
            }
            (UuidMode::Auto, StoredUuid::AbsentOnUsed) => {
                self.now.uuid = UuidMode::Null;
                false
            }
            (UuidMode::Auto | UuidMode::On, _) => {
                self.now.uuid = UuidMode::On;
                true
            }
        }
    }
}

/// As a mount option.
fn redirect_option(value: RedirectDir) -> &'static str {
    match value {
        RedirectDir::On => "redirect_dir=on",
        RedirectDir::Follow => "redirect_dir=follow",
        RedirectDir::NoFollow => "redirect_dir=nofollow",
        RedirectDir::Off => "redirect_dir=off",
    }
}
