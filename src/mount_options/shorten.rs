//! Options that fit one page because their paths are relative.

use std::path::{Component, Path, PathBuf};

use super::MountOptions;

/// Options with relative paths, and the directory that they are relative to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shortened {
    /// Where to change to before mounting.
    pub directory: PathBuf,
    /// The options, to be used there.
    pub options: MountOptions,
}

impl MountOptions {
    /// The same with paths relative to the directory that all of them lie in, for mount(2) from there:
    /// 500 layers then fit in one page (rule R023). `None` if nothing is gained, since there is no
    /// such directory but the root.
    ///
    /// Only names are looked at, so symlinks in the directory's own path mean what they meant. Options of
    /// a mount are shown to everybody as they were given, so relative paths tell less.
    ///
    /// ```
    /// use layerstack::MountOptions;
    /// let long = MountOptions::parse("lowerdir=/var/lib/l/2:/var/lib/l/1,upperdir=/var/lib/u,workdir=/var/lib/w")?;
    /// let short = long.shortened().unwrap();
    /// assert_eq!(short.directory.to_str(), Some("/var/lib"));
    /// assert_eq!(short.options.to_legacy()?, "lowerdir=l/2:l/1,upperdir=u,workdir=w");
    /// # Ok::<(), layerstack::MountOptionError>(())
    /// ```
    #[must_use]
    pub fn shortened(&self) -> Option<Shortened> {
        let directory = self.common_directory()?;
        let mut options = self.clone();
        for path in options.paths_mut() {
            let rest = path.strip_prefix(&directory).ok()?;
            *path = match rest.as_os_str().is_empty() {
                true => PathBuf::from("."),
                false => rest.to_path_buf(),
            };
        }
        Some(Shortened { directory, options })
    }

    /// The longest path that all paths begin with, if it is more than the root.
    fn common_directory(&self) -> Option<PathBuf> {
        let mut paths = self.paths();
        let mut common: Vec<Component<'_>> = paths.next()?.components().collect();
        for path in paths {
            let same = common.iter().zip(path.components());
            let same = same.take_while(|(a, b)| **a == *b).count();
            common.truncate(same);
        }
        // Behind `..` a name may mean anything, so it is not taken apart.
        if let Some(up) = common.iter().position(|c| *c == Component::ParentDir) {
            common.truncate(up);
        }
        let gains = common.iter().any(|c| matches!(c, Component::Normal(_)));
        gains.then(|| common.iter().collect())
    }

    fn paths(&self) -> impl Iterator<Item = &Path> {
        let lowers = self.lowers.iter().chain(&self.data_lowers);
        let all = lowers.chain(&self.upper).chain(&self.work);
        all.map(PathBuf::as_path)
    }

    fn paths_mut(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        let lowers = self.lowers.iter_mut().chain(&mut self.data_lowers);
        lowers.chain(&mut self.upper).chain(&mut self.work)
    }
}
