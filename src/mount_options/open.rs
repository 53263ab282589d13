//! Checking options, and opening what they name.

use super::{MOUNT_OPTIONS_BYTES_MAX, MountOptions};
use crate::backend::dir::{DirLayer, DirLayerOptions, may_use_trusted};
use crate::errno::Errno;
use crate::error::{Error, LayerId, Result};
use crate::overlay::options::OverlayOptions;
use crate::overlay::stack::LayerStack;
use crate::overlay::union::Overlay;
use crate::rules::config::facts::{Facts, Handles, StoredUuid, UpperFacts};
use crate::rules::warning::{Warning, WarningReason};

const OP: &str = "mount options";

fn refused(layer: LayerId, rule: &'static str, detail: &str) -> Error {
    Error::config(OP, "", Errno::EINVAL, layer, detail).with_rule(rule)
}

impl MountOptions {
    /// Whether the kernel would take these options from this process, as far as that can be told
    /// without looking at the layers; answers what it would adjust, or cut off. (That a lone lower
    /// layer cannot be mounted, rule R004, is told here and does not matter to
    /// [`MountOptions::open`].)
    ///
    /// # Errors
    /// - `EINVAL`: options that exclude each other (rules R027 to R029); no lower layer (R003); a
    ///   single one without an upper (R004); an upper without work directory (R006); what
    ///   [`MountOptions::to_legacy`] cannot say.
    /// - `EPERM`: options that this process may not use (R032).
    pub fn check(&self) -> Result<Vec<Warning>> {
        let permitted = self.userxattr || may_use_trusted();
        let mut warnings = self.check_for(permitted)?;
        let bytes = self.to_legacy()?.len();
        if bytes > MOUNT_OPTIONS_BYTES_MAX {
            let reason = WarningReason::BeyondOnePage { bytes };
            warnings.push(Warning::new("data", "whole", "cut off", reason));
        }
        Ok(warnings)
    }

    /// The kernel's checks in its order.
    pub(super) fn check_for(&self, permitted: bool) -> Result<Vec<Warning>> {
        let upper = self.upper.as_ref().map(|_| UpperFacts {
            storable: true,
            handles: Handles::Ino32,
            uuid: StoredUuid::Present,
        });
        let facts = Facts {
            namespace: self.namespace(),
            permitted,
            upper,
            lowers: Vec::new(),
            data_layers: self.data_lowers.len(),
            defaults: self.defaults,
        };
        let mut warnings = self.asked.verify(&facts)?;
        self.check_layers()?;
        if self.upper.is_none() && self.work.is_some() {
            let reason = WarningReason::NoUpper;
            warnings.push(Warning::new("workdir", "used", "ignored", reason));
        }
        if self.lowers.len() == 1 && self.data_lowers.is_empty() && self.upper.is_none() {
            let detail = "a single lower layer without an upper cannot be mounted";
            return Err(refused(LayerId::Lower(0), "R004", detail));
        }
        Ok(warnings)
    }

    /// What neither the kernel nor the crate can do without.
    fn check_layers(&self) -> Result<()> {
        if self.lowers.is_empty() && self.data_lowers.is_empty() {
            let detail = "no lower layer";
            return Err(refused(LayerId::Lower(0), "R003", detail));
        }
        if self.upper.is_some() && self.work.is_none() {
            let detail = "an upper layer needs a work directory";
            return Err(refused(LayerId::Work, "R006", detail));
        }
        if self.lowers.is_empty() {
            let detail = "at least one lower layer must not be data-only";
            return Err(refused(LayerId::Lower(0), "R005", detail));
        }
        Ok(())
    }

    /// Opens the directories as a union, as the kernel would mount them: lowers through
    /// [mounts of their own](DirLayerOptions::private_mount) where that is permitted. Relative paths are those of
    /// the process's working directory.
    ///
    /// # Errors
    /// As [`DirLayer::open_lower`], [`DirLayer::open_upper`] and [`Overlay::with_options`]; `EINVAL`
    /// without a lower layer (rules R003, R005) or for an upper without work directory (R006).
    ///
    /// # Effects
    /// Those of [`DirLayer::open_upper`], also for a read-only union that has an upper.
    pub fn open(&self) -> Result<Overlay> {
        self.open_with(OverlayOptions::default())
    }

    /// As [`MountOptions::open`]; `base` has what mount options do not tell, such as the umask.
    ///
    /// # Errors
    /// As [`MountOptions::open`].
    pub fn open_with(&self, base: OverlayOptions) -> Result<Overlay> {
        let options = self.on_top_of(base);
        self.check_layers()?;
        let dirs = DirLayerOptions::new().namespace(self.namespace());
        // As the kernel does.
        let private = dirs.clone().private_mount(true);
        let lowers = self.lowers.iter().map(|path| private.open_lower(path));
        let lowers = lowers.collect::<Result<Vec<DirLayer>>>()?;
        let data = self.data_lowers.iter().map(|path| private.open_lower(path));
        let data = data.collect::<Result<Vec<DirLayer>>>()?;
        let stack = LayerStack::from_top(lowers)?.with_data_layers(data)?;
        match (&self.upper, &self.work) {
            (Some(upper), Some(work)) => {
                let upper = dirs.open_upper(upper, work)?;
                Overlay::with_options(&stack, upper, options)
            }
            _ => Overlay::read_only(&stack.with_options(options)?),
        }
    }
}
