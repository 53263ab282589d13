//! Requests of the kernel, one method each: numbers become objects, the engine is asked, its answer
//! is told.
//!
//! One room, since the protocol's trait is implemented in one block and has a method for each request; what
//! needs more than a few lines lies in the modules beside it.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use fuser::{
    BsdFileFlags, CopyFileRangeFlags, FileAttr, FileHandle, Filesystem, FopenFlags, Generation,
    INodeNo, InitFlags, IoctlFlags, KernelConfig, LockOwner, Notifier, OpenFlags, RenameFlags,
    ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory, ReplyDirectoryPlus, ReplyEmpty, ReplyEntry,
    ReplyIoctl, ReplyLseek, ReplyOpen, ReplyStatfs, ReplyWrite, ReplyXattr, Request, TimeOrNow,
    WriteFlags,
};

use crate::errno::Errno;
use crate::fuse::caller::SET_ID_BITS;
use crate::fuse::convert;
use crate::fuse::handles::{Handles, Stream};
use crate::fuse::io::Handle;
use crate::fuse::nodes::Nodes;
use crate::fuse::options::FuseOptions;
use crate::meta::Metadata;
use crate::overlay::core::Core;
use crate::overlay::inode::Inode;
use crate::overlay::watch::CopiedUp;
use crate::path::Name;
use crate::rules::inode::Device;

/// What a request is answered with.
pub(super) type Answer<T> = Result<T, Errno>;

/// Where the number of a filesystem begins in an inode number.
const FILESYSTEM_SHIFT: u32 = 48;

/// Largest read or write in bytes.
pub(super) const TRANSFER_BYTES_MAX: u32 = 1 << 20;

/// Serves one union at one mount point.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) core: Arc<Core>,
    pub(super) nodes: Nodes,
    pub(super) files: Handles<Handle>,
    pub(super) streams: Handles<Stream>,
    pub(super) options: FuseOptions,
    /// What was copied up, since the kernel was last told.
    copied_up: Arc<CopiedUp>,
    /// Files of layers may be registered with the kernel.
    passes: AtomicBool,
    /// For telling the kernel what to forget; set before the first request is served.
    pub(super) notifier: Arc<OnceLock<Notifier>>,
}

impl Server {
    pub(super) fn new(core: Arc<Core>, options: FuseOptions) -> Self {
        Server {
            nodes: Nodes::new(core.root().clone()),
            copied_up: core.watchers.watch(),
            core,
            files: Handles::default(),
            streams: Handles::default(),
            passes: AtomicBool::new(false),
            options,
            notifier: Arc::default(),
        }
    }

    pub(super) fn inode(&self, number: INodeNo) -> Answer<Arc<Inode>> {
        self.nodes.get(number.0).ok_or(Errno::ESTALE)
    }

    pub(super) fn passes(&self) -> bool {
        self.passes.load(Ordering::Relaxed)
    }

    pub(super) fn stop_passing(&self) {
        self.passes.store(false, Ordering::Relaxed);
    }

    pub(super) fn file(&self, handle: FileHandle) -> Answer<Arc<Handle>> {
        self.files.get(handle.0).ok_or(Errno::EBADF)
    }

    /// The kernel is to ask for a node's attributes again: they changed in a way that it cannot know.
    pub(super) fn forget_attr(&self, inode: &Inode) {
        if let (Some(notifier), Some(number)) = (self.notifier.get(), self.nodes.number(inode.id)) {
            // A negative offset: attributes only. Failing means that the kernel does not know the node.
            let _ = notifier.inval_inode(INodeNo(number), -1, 0);
        }
    }

    /// The kernel is to read a directory again, and its attributes.
    fn forget_listing(&self, dir: &Inode) {
        if let (Some(notifier), Some(number)) = (self.notifier.get(), self.nodes.number(dir.id)) {
            // From the first page on. Failing means that the kernel does not know the directory.
            let _ = notifier.inval_inode(INodeNo(number), 0, 0);
        }
    }

    /// To be called when a request is done that may have copied up, before it is answered.
    pub(super) fn tell_copied_up(&self) {
        self.tell_copied_up_but(None);
    }

    /// The same; of `told` the kernel was told already.
    fn tell_copied_up_but(&self, told: Option<u64>) {
        for copied in self.copied_up.take() {
            let number = self.nodes.number(copied.id);
            let Some(inode) = number.and_then(|number| self.nodes.get(number)) else {
                continue;
            };
            if inode.is_dir() {
                self.forget_listing(&inode);
            } else if told != Some(copied.id) {
                self.forget_attr(&inode);
            }
            if let Some(dir) = inode.parent().filter(|_| copied.relists) {
                self.forget_listing(&dir);
            }
        }
    }

    /// The inode number that the mount shows. A mount has one device number, so where the layers are
    /// on several filesystems the upper bits tell which: an object's device says it.
    pub(super) fn shown_number(&self, meta: &Metadata) -> u64 {
        let own = self.core.device(Device::Union);
        let filesystem = u64::from(meta.dev.minor.wrapping_sub(own.minor));
        if self.core.numbering.is_one_device() || meta.ino >> FILESYSTEM_SHIFT != 0 {
            meta.ino
        } else {
            (filesystem << FILESYSTEM_SHIFT) | meta.ino
        }
    }

    /// Tells the kernel of a node. Counts it.
    fn entry(&self, inode: &Arc<Inode>, meta: &Metadata) -> Told {
        let shown = self.shown_number(meta);
        let number = self.nodes.adopt(inode, shown);
        Told {
            attr: convert::attr(meta, number),
            attr_time: self.attr_time(number, shown),
            number,
            generation: Generation(inode.id),
        }
    }

    /// Attributes under another number than the object's own must not be kept, nor those that can
    /// change without the kernel's noticing.
    pub(super) fn attr_time(&self, number: u64, shown: u64) -> Duration {
        match number == shown && !self.nodes.io(number).is_written_past() {
            true => self.options.cache,
            false => Duration::ZERO,
        }
    }

    /// How long a name may be kept. Taking set-id bits away changes a mode that the kernel looks at
    /// without asking whether it is good still, unless it looks the name up again.
    pub(super) fn name_time(&self, meta: &Metadata) -> Duration {
        match meta.is_file() && meta.mode & SET_ID_BITS != 0 {
            true => Duration::ZERO,
            false => self.options.cache,
        }
    }

    /// Whether the kernel may keep what it was told of a directory. It knows of every change but of a
    /// number that is another one after copying up: where numbers are those of one filesystem it is
    /// told of these.
    fn dir_flags(&self) -> FopenFlags {
        match !self.options.cache.is_zero() && self.core.numbering.is_one_device() {
            true => FopenFlags::FOPEN_CACHE_DIR | FopenFlags::FOPEN_KEEP_CACHE,
            false => FopenFlags::empty(),
        }
    }

    fn reply_entry(&self, answer: Answer<(Arc<Inode>, Metadata)>, reply: ReplyEntry) {
        self.tell_copied_up();
        match answer {
            Ok((inode, meta)) => {
                let told = self.entry(&inode, &meta);
                let names = self.name_time(&meta);
                reply.entry_with_ttls(&told.attr_time, &names, &told.attr, told.generation);
            }
            Err(e) => reply.error(convert::errno(e)),
        }
    }

    fn reply_empty(&self, answer: Answer<()>, reply: ReplyEmpty) {
        self.tell_copied_up();
        match answer {
            Ok(()) => reply.ok(),
            Err(e) => reply.error(convert::errno(e)),
        }
    }

    fn reply_attr(&self, ino: INodeNo, answer: Answer<Metadata>, reply: ReplyAttr) {
        self.tell_copied_up();
        match answer {
            Ok(meta) => {
                let attr = convert::attr(&meta, self.shown_number(&meta));
                reply.attr(&self.attr_time(ino.0, ino.0), &attr);
            }
            Err(e) => reply.error(convert::errno(e)),
        }
    }
}

/// What the kernel is told of a node.
struct Told {
    number: u64,
    attr: FileAttr,
    attr_time: Duration,
    generation: Generation,
}

/// The kernel refuses a handle that is passed through and has any flag about pages.
const PASSED: FopenFlags = FopenFlags::empty();

/// Whether the kernel may keep the pages that it has of a file.
fn page_flags(keeps_pages: bool) -> FopenFlags {
    match keeps_pages {
        true => FopenFlags::FOPEN_KEEP_CACHE,
        false => FopenFlags::empty(),
    }
}

fn reply_xattr(answer: Answer<Vec<u8>>, size: u32, reply: ReplyXattr) {
    let answer = answer.and_then(|value| match u32::try_from(value.len()) {
        Ok(len) if size == 0 || len <= size => Ok((value, len)),
        _ => Err(Errno::ERANGE),
    });
    match answer {
        Ok((_, len)) if size == 0 => reply.size(len),
        Ok((value, _)) => reply.data(&value),
        Err(e) => reply.error(convert::errno(e)),
    }
}

pub(super) fn name(raw: &OsStr) -> Answer<Name> {
    Name::new(raw.as_bytes())
}

impl Filesystem for Server {
    fn init(&mut self, _req: &Request, config: &mut KernelConfig) -> io::Result<()> {
        let wanted = [
            InitFlags::FUSE_ATOMIC_O_TRUNC,
            InitFlags::FUSE_DONT_MASK,
            InitFlags::FUSE_POSIX_ACL,
            InitFlags::FUSE_PARALLEL_DIROPS,
            InitFlags::FUSE_DO_READDIRPLUS,
            InitFlags::FUSE_READDIRPLUS_AUTO,
            InitFlags::FUSE_HANDLE_KILLPRIV_V2,
            InitFlags::FUSE_CACHE_SYMLINKS,
            InitFlags::FUSE_ASYNC_DIO,
            InitFlags::FUSE_HAS_IOCTL_DIR,
        ];
        for flag in wanted {
            // What an older kernel lacks it does not ask for either.
            let _ = config.add_capabilities(flag);
        }
        let _ = config.set_max_write(TRANSFER_BYTES_MAX);
        if let Err(largest) = config.set_max_readahead(TRANSFER_BYTES_MAX) {
            let _ = config.set_max_readahead(largest);
        }
        let _ = config.set_max_background(64);
        // One level: files of layers that lie on no stacked filesystem.
        let passes = self.options.passthrough
            && config.set_max_stack_depth(1).is_ok()
            && config.add_capabilities(InitFlags::FUSE_PASSTHROUGH).is_ok();
        self.passes.store(passes, Ordering::Relaxed);
        Ok(())
    }

    fn lookup(&self, _req: &Request, parent: INodeNo, raw: &OsStr, reply: ReplyEntry) {
        let find = || {
            let dir = self.inode(parent)?;
            Ok(self.core.find(&dir, &name(raw)?)?)
        };
        match find() {
            Ok(Some(found)) => self.reply_entry(Ok(found), reply),
            Ok(None) => {
                // Number 0: nothing is there, and that may be kept.
                let nothing = convert::bare_attr(None, 0);
                reply.entry(&self.options.cache, &nothing, Generation(0));
            }
            Err(e) => reply.error(convert::errno(e)),
        }
    }

    fn forget(&self, _req: &Request, ino: INodeNo, nlookup: u64) {
        self.nodes.forget(ino.0, nlookup);
    }

    fn getattr(&self, _req: &Request, ino: INodeNo, _fh: Option<FileHandle>, reply: ReplyAttr) {
        let meta = self.inode(ino).and_then(|inode| self.metadata(&inode));
        self.reply_attr(ino, meta, reply);
    }

    fn setattr(
        &self,
        req: &Request,
        ino: INodeNo,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        size: Option<u64>,
        atime: Option<TimeOrNow>,
        mtime: Option<TimeOrNow>,
        _ctime: Option<SystemTime>,
        fh: Option<FileHandle>,
        _crtime: Option<SystemTime>,
        _chgtime: Option<SystemTime>,
        _bkuptime: Option<SystemTime>,
        _flags: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let change = crate::meta::SetAttr {
            mode: mode.map(|m| m & 0o7777),
            uid,
            gid,
            atime: convert::set_time(atime),
            mtime: convert::set_time(mtime),
        };
        let done = self.inode(ino).and_then(|inode| {
            if let Some(len) = size {
                self.set_len(req, &inode, fh, len)?;
            }
            match size {
                None if change.is_empty() => {
                    let is_open = self.nodes.io(ino.0).is_open();
                    self.keep_owner(req, &inode, is_open)?;
                }
                _ if change.is_empty() => {}
                _ => self.set_attr(req, &inode, &change)?,
            }
            self.metadata(&inode)
        });
        self.reply_attr(ino, done, reply);
    }

    fn readlink(&self, _req: &Request, ino: INodeNo, reply: ReplyData) {
        match self.inode(ino).and_then(|inode| self.read_link(&inode)) {
            Ok(target) => reply.data(&target),
            Err(e) => reply.error(convert::errno(e)),
        }
    }

    fn mknod(
        &self,
        req: &Request,
        parent: INodeNo,
        raw: &OsStr,
        mode: u32,
        umask: u32,
        rdev: u32,
        reply: ReplyEntry,
    ) {
        self.reply_entry(self.make_node(req, parent, raw, mode, umask, rdev), reply);
    }

    fn mkdir(
        &self,
        req: &Request,
        parent: INodeNo,
        raw: &OsStr,
        mode: u32,
        umask: u32,
        reply: ReplyEntry,
    ) {
        self.reply_entry(self.make_dir(req, parent, raw, mode, umask), reply);
    }

    fn unlink(&self, _req: &Request, parent: INodeNo, raw: &OsStr, reply: ReplyEmpty) {
        self.reply_empty(self.remove(parent, raw, false), reply);
    }

    fn rmdir(&self, _req: &Request, parent: INodeNo, raw: &OsStr, reply: ReplyEmpty) {
        self.reply_empty(self.remove(parent, raw, true), reply);
    }

    fn symlink(
        &self,
        req: &Request,
        parent: INodeNo,
        raw: &OsStr,
        target: &Path,
        reply: ReplyEntry,
    ) {
        self.reply_entry(self.make_symlink(req, parent, raw, target), reply);
    }

    fn rename(
        &self,
        _req: &Request,
        parent: INodeNo,
        raw: &OsStr,
        newparent: INodeNo,
        newname: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        let renamed = self.move_name((parent, raw), (newparent, newname), flags);
        self.reply_empty(renamed, reply);
    }

    fn link(
        &self,
        _req: &Request,
        ino: INodeNo,
        newparent: INodeNo,
        newname: &OsStr,
        reply: ReplyEntry,
    ) {
        self.reply_entry(self.add_name(ino, newparent, newname), reply);
    }

    fn open(&self, req: &Request, ino: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        let file = match self.open_file(req, ino, flags) {
            Ok(file) => file,
            Err(e) => {
                self.tell_copied_up();
                return reply.error(convert::errno(e));
            }
        };
        let writes = flags.0 & libc::O_ACCMODE != libc::O_RDONLY;
        let io = self.nodes.io(ino.0);
        let way = self.way(file, io, writes, |fd| reply.open_backing(fd));
        let flags = page_flags(way.keeps_pages);
        // From now on attributes change without the kernel's noticing, and are not to be kept.
        let told = way.handle.writes_past().then(|| {
            self.forget_attr(way.handle.file.inode());
            way.handle.file.inode().id
        });
        self.tell_copied_up_but(told);
        let (handle, backing) = self.register(way);
        match backing {
            Some(backing) => reply.opened_passthrough(handle, PASSED, &backing),
            None => reply.opened(handle, flags),
        }
    }

    fn create(
        &self,
        req: &Request,
        parent: INodeNo,
        raw: &OsStr,
        mode: u32,
        umask: u32,
        flags: i32,
        reply: ReplyCreate,
    ) {
        let created = self.create_file(req, (parent, raw), mode, umask, flags);
        self.tell_copied_up();
        let (file, meta) = match created {
            Ok(created) => created,
            Err(e) => return reply.error(convert::errno(e)),
        };
        let told = self.entry(file.inode(), &meta);
        let writes = flags & libc::O_ACCMODE != libc::O_RDONLY;
        let io = self.nodes.io(told.number);
        let way = self.way(file, io, writes, |fd| reply.open_backing(fd));
        let flags = page_flags(way.keeps_pages);
        let written_past = way
            .handle
            .writes_past()
            .then(|| way.handle.file.inode().clone());
        let (handle, backing) = self.register(way);
        let time = &told.attr_time.min(self.name_time(&meta));
        let (attr, generation) = (&told.attr, told.generation);
        match backing {
            Some(backing) => {
                reply.created_passthrough(time, attr, generation, handle, PASSED, &backing);
            }
            None => reply.created(time, attr, generation, handle, flags),
        }
        // Only now, when the kernel knows the file. What it does to open it it does with what it was
        // just told; of writes past this process it must not keep anything.
        if let Some(inode) = written_past {
            self.forget_attr(&inode);
        }
    }

    fn read(
        &self,
        _req: &Request,
        _ino: INodeNo,
        fh: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        self.read_file(fh, offset, size, reply);
    }

    fn write(
        &self,
        req: &Request,
        _ino: INodeNo,
        fh: FileHandle,
        offset: u64,
        data: &[u8],
        write_flags: WriteFlags,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        match self.write_file(req, fh, offset, data, write_flags) {
            Ok(written) => reply.written(written),
            Err(e) => reply.error(convert::errno(e)),
        }
    }

    fn flush(
        &self,
        _req: &Request,
        _ino: INodeNo,
        _fh: FileHandle,
        _lock_owner: LockOwner,
        reply: ReplyEmpty,
    ) {
        // Written data are with the layer already; the kernel need not ask again.
        reply.error(fuser::Errno::ENOSYS);
    }

    fn release(
        &self,
        _req: &Request,
        _ino: INodeNo,
        fh: FileHandle,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        _flush: bool,
        reply: ReplyEmpty,
    ) {
        // A request that was answered beside the opening may have said that attributes can be kept.
        if let Some(handle) = self.files.remove(fh.0)
            && handle.writes_past()
        {
            self.forget_attr(handle.file.inode());
        }
        reply.ok();
    }

    fn fsync(
        &self,
        _req: &Request,
        _ino: INodeNo,
        fh: FileHandle,
        datasync: bool,
        reply: ReplyEmpty,
    ) {
        let sync = || Ok(self.file(fh)?.file.try_sync(datasync)?);
        self.reply_empty(sync(), reply);
    }

    fn opendir(&self, _req: &Request, ino: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        match self.inode(ino) {
            Ok(inode) => {
                let stream = Stream::new(inode, self.nodes.listing(ino.0));
                reply.opened(FileHandle(self.streams.add(stream)), self.dir_flags());
            }
            Err(e) => reply.error(convert::errno(e)),
        }
    }

    fn readdir(
        &self,
        _req: &Request,
        _ino: INodeNo,
        fh: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        match self.list(fh, offset, &mut reply) {
            Ok(()) => reply.ok(),
            Err(e) => reply.error(convert::errno(e)),
        }
    }

    fn readdirplus(
        &self,
        _req: &Request,
        _ino: INodeNo,
        fh: FileHandle,
        offset: u64,
        mut reply: ReplyDirectoryPlus,
    ) {
        match self.list_with_attributes(fh, offset, &mut reply) {
            Ok(()) => reply.ok(),
            Err(e) => reply.error(convert::errno(e)),
        }
    }

    fn releasedir(
        &self,
        _req: &Request,
        _ino: INodeNo,
        fh: FileHandle,
        _flags: OpenFlags,
        reply: ReplyEmpty,
    ) {
        drop(self.streams.remove(fh.0));
        reply.ok();
    }

    fn fsyncdir(
        &self,
        _req: &Request,
        ino: INodeNo,
        _fh: FileHandle,
        _datasync: bool,
        reply: ReplyEmpty,
    ) {
        let sync = || Ok(self.core.sync_inode(&*self.inode(ino)?)?);
        self.reply_empty(sync(), reply);
    }

    fn statfs(&self, _req: &Request, _ino: INodeNo, reply: ReplyStatfs) {
        match self.core.statfs() {
            Ok(s) => {
                let block = u32::try_from(s.block_size).unwrap_or(4096);
                reply.statfs(
                    s.blocks,
                    s.blocks_free,
                    s.blocks_available,
                    s.files,
                    s.files_free,
                    block,
                    u32::try_from(s.name_bytes_max).unwrap_or(255),
                    block,
                );
            }
            Err(e) => reply.error(convert::errno(e.errno)),
        }
    }

    fn setxattr(
        &self,
        req: &Request,
        ino: INodeNo,
        raw: &OsStr,
        value: &[u8],
        flags: i32,
        _position: u32,
        reply: ReplyEmpty,
    ) {
        self.reply_empty(self.set_xattr(req, ino, raw, Some(value), flags), reply);
    }

    fn getxattr(&self, _req: &Request, ino: INodeNo, raw: &OsStr, size: u32, reply: ReplyXattr) {
        reply_xattr(self.xattr(ino, raw), size, reply);
    }

    fn listxattr(&self, req: &Request, ino: INodeNo, size: u32, reply: ReplyXattr) {
        reply_xattr(self.list_xattrs(req, ino), size, reply);
    }

    fn removexattr(&self, req: &Request, ino: INodeNo, raw: &OsStr, reply: ReplyEmpty) {
        self.reply_empty(self.set_xattr(req, ino, raw, None, 0), reply);
    }

    fn ioctl(
        &self,
        _req: &Request,
        ino: INodeNo,
        _fh: FileHandle,
        _flags: IoctlFlags,
        cmd: u32,
        data: &[u8],
        _out_size: u32,
        reply: ReplyIoctl,
    ) {
        let answer = self.inode_flags(ino, cmd, data);
        self.tell_copied_up();
        match answer {
            Ok(data) => reply.ioctl(0, &data),
            Err(e) => reply.error(convert::errno(e)),
        }
    }

    fn fallocate(
        &self,
        req: &Request,
        _ino: INodeNo,
        fh: FileHandle,
        offset: u64,
        length: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        self.reply_empty(self.allocate(req, fh, offset, length, mode), reply);
    }

    fn lseek(
        &self,
        _req: &Request,
        _ino: INodeNo,
        fh: FileHandle,
        offset: i64,
        whence: i32,
        reply: ReplyLseek,
    ) {
        match self.seek(fh, offset, whence) {
            Ok(at) => reply.offset(at),
            Err(e) => reply.error(convert::errno(e)),
        }
    }

    fn copy_file_range(
        &self,
        req: &Request,
        _ino_in: INodeNo,
        fh_in: FileHandle,
        offset_in: u64,
        _ino_out: INodeNo,
        fh_out: FileHandle,
        offset_out: u64,
        len: u64,
        _flags: CopyFileRangeFlags,
        reply: ReplyWrite,
    ) {
        match self.copy_range(req, (fh_in, offset_in), (fh_out, offset_out), len) {
            Ok(copied) => reply.written(copied),
            Err(e) => reply.error(convert::errno(e)),
        }
    }
}
