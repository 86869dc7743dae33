//! A folder on a local disk: `object_store`'s [`LocalFileSystem`] with two differences. Nothing outside the folder is
//! deleted or overwritten, and nothing odd in it breaks a listing.
//!
//! Reading follows symbolic links: token shards, or a checkpoint, may lie on another disk. Deleting and writing follow the
//! links that lead to the folder that was opened, since the user named it, and none below it, where others may have put them:
//!
//! - a link that is to be deleted is itself removed, and its target stays;
//! - nothing behind a linked folder is deleted or written, and the error names the link;
//! - an object that is written replaces a link in its place.
//!
//! A deletion opens every folder on its path from the one before, refuses a link there, and removes an entry of the last
//! one. It therefore only removes what it has reached through real folders, even if others replace these meanwhile. A write
//! uses its path once it has found no link on it: it offers no protection against a folder that is replaced at that moment.

use std::ffi::{CString, OsStr};
use std::fmt;
use std::fs::{self, File, Metadata};
use std::io;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path as FilePath, PathBuf};
use std::time::UNIX_EPOCH;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use nix::dir::{Dir, Type};
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, open, openat};
use nix::sys::stat::{Mode, SFlag, fstatat};
use nix::unistd::{UnlinkatFlags, unlinkat};
use object_store::local::LocalFileSystem;
use object_store::path::{Path, PathPart};
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions,
    PutOptions, PutPayload, PutResult, Result,
};

/// Largest depth of nested folders. Each level holds an open file while a folder is emptied.
const DEPTH_MAX: usize = 100;

/// A folder on a local disk, and what is below it. Paths are absolute, as in a store of the whole disk.
#[derive(Debug, Clone)]
pub(crate) struct Disk {
    files: LocalFileSystem,
    /// Folder that was opened. Links below it are not trusted.
    root: Path,
}

impl Disk {
    /// Opens the folder `root`. With `is_durable`, what is written survives a loss of the machine's power.
    pub fn open(root: Path, is_durable: bool) -> Self {
        Disk { files: LocalFileSystem::new().with_fsync(is_durable), root }
    }

    /// Fails if `path` cannot be written because it lies behind a linked folder, or is not below the root.
    pub fn refuse_links(&self, path: &Path) -> io::Result<()> {
        let (folder, _) = split(path);
        self.below_root(&folder)?;
        self.link_on_the_way(&folder).map_or(Ok(()), |link| Err(refusal(&link)))
    }

    /// Lists the objects below `folder` without following links.
    pub fn objects_below(&self, folder: &Path) -> io::Result<Vec<Path>> {
        let mut found = Vec::new();
        match self.enter(folder) {
            Ok(open) => find_objects(&open, folder, 0, &mut found)?,
            // A folder that does not exist has nothing in it, and a link leads elsewhere.
            Err(_) if self.is_link(folder)? => {}
            Err(error) if is_absent(&error) => {}
            Err(error) => return Err(error),
        }
        Ok(found)
    }

    /// Removes `folder` with everything that no listing shows: links, unfinished objects, names that no object can have, and
    /// folders that are then empty. Anything else, also what is added meanwhile, stays.
    pub fn remove_what_is_left(&self, folder: &Path) -> io::Result<()> {
        let (at, inner) = (on_disk(folder), (*folder != self.root).then(|| split(folder)));
        let open = match self.enter(inner.as_ref().map_or(folder, |(above, _)| above)) {
            Err(error) if is_absent(&error) => return Ok(()),
            open => open?,
        };
        let Some((_, name)) = &inner else {
            empty(&open, &at, 0);
            let _ = fs::remove_dir(at);
            return Ok(());
        };
        match kind_of(&open, OsStr::new(name))? {
            Some(Type::Symlink) => remove_link(&open, OsStr::new(name), &at),
            Some(Type::Directory) => remove_folder(&open, OsStr::new(name), &at, 0),
            _ => {}
        }
        Ok(())
    }

    /// Removes unfinished objects directly in `folder` whose final names satisfy `is_ours`.
    pub fn remove_unfinished(&self, folder: &Path, is_ours: impl Fn(&str) -> bool) -> io::Result<()> {
        let folder = self.enter(folder)?;
        for (name, _) in entries(&folder)?.into_iter().filter(|(_, kind)| *kind == Type::File) {
            if name.to_str().ok().and_then(unfinished).is_some_and(&is_ours) {
                // It may be gone already.
                let _ = unlinkat(&folder, name.as_c_str(), UnlinkatFlags::NoRemoveDir);
            }
        }
        Ok(())
    }

    /// Removes `folder` if it is empty.
    pub fn remove_if_empty(&self, folder: &Path) -> io::Result<()> {
        if *folder == self.root {
            return fs::remove_dir(on_disk(folder));
        }
        let (above, name) = split(folder);
        Ok(unlinkat(self.enter(&above)?, name.as_str(), UnlinkatFlags::RemoveDir)?)
    }

    /// Waits until deletions from `folder` are durable.
    pub fn sync(&self, folder: &Path) -> io::Result<()> {
        File::from(self.enter(folder)?).sync_all()
    }

    fn delete(&self, path: &Path) -> io::Result<()> {
        let (folder, name) = split(path);
        Ok(unlinkat(self.enter(&folder)?, name.as_str(), UnlinkatFlags::NoRemoveDir)?)
    }

    /// Opens `folder`, from the root on, without following a link.
    fn enter(&self, folder: &Path) -> io::Result<OwnedFd> {
        let mut here = open(&on_disk(&self.root), FOLDER, Mode::empty())?;
        for part in self.below_root(folder)? {
            here = enter_one(&here, OsStr::new(part.as_ref())).map_err(|error| match self.link_on_the_way(folder) {
                Some(link) => refusal(&link),
                None => error.into(),
            })?;
        }
        Ok(here)
    }

    /// Returns the parts of `path` below the root.
    fn below_root<'p>(&self, path: &'p Path) -> io::Result<Vec<PathPart<'p>>> {
        let parts = path.prefix_match(&self.root).map(Iterator::collect);
        let outside = || format!("{} lies outside {}", on_disk(path).display(), on_disk(&self.root).display());
        parts.ok_or_else(|| io::Error::new(io::ErrorKind::PermissionDenied, outside()))
    }

    /// Returns the first link below the root on the path to `folder`, `folder` included.
    fn link_on_the_way(&self, folder: &Path) -> Option<PathBuf> {
        let mut at = on_disk(&self.root);
        self.below_root(folder).ok()?.into_iter().find_map(|part| {
            at.push(part.as_ref());
            fs::symlink_metadata(&at).is_ok_and(|metadata| metadata.is_symlink()).then(|| at.clone())
        })
    }

    /// Returns whether `folder` itself is a link, with no link on the path to it.
    fn is_link(&self, folder: &Path) -> io::Result<bool> {
        let link = self.link_on_the_way(folder);
        Ok(link.is_some_and(|link| link == on_disk(folder)))
    }

    /// Lists what lies below `folder`. Follows links, but does not enter folders for which `enters` returns false.
    pub fn list(&self, folder: &Path, enters: &dyn Fn(&Path) -> bool) -> io::Result<Vec<ObjectMeta>> {
        let mut listing = Listing { objects: Vec::new(), above: Vec::new(), enters };
        match listing.add(&on_disk(folder), folder) {
            Err(error) if !is_absent(&error) => Err(error),
            _ => Ok(listing.objects),
        }
    }

    fn list_one_level(&self, folder: &Path) -> io::Result<ListResult> {
        let mut listing =
            ListResult { common_prefixes: Vec::new(), objects: Vec::new(), extensions: Default::default() };
        let entries = match fs::read_dir(on_disk(folder)) {
            Err(error) if is_absent(&error) => return Ok(listing),
            entries => entries?,
        };
        for entry in entries {
            let path = entry?.path();
            // A file that is gone, or a link that leads nowhere, does not exist.
            let (Some(location), Ok(metadata)) = (location(folder, &path), fs::metadata(&path)) else { continue };
            if metadata.is_dir() {
                listing.common_prefixes.push(location);
            } else if metadata.is_file() && !is_unfinished(&location) {
                listing.objects.push(describe(location, &metadata)?);
            }
        }
        Ok(listing)
    }
}

const FOLDER: OFlag = OFlag::O_RDONLY.union(OFlag::O_DIRECTORY).union(OFlag::O_CLOEXEC);

/// Opens the folder `name` in `folder`, which must not be a link.
fn enter_one(folder: &OwnedFd, name: &OsStr) -> nix::Result<OwnedFd> {
    openat(folder, name, FOLDER | OFlag::O_NOFOLLOW, Mode::empty())
}

fn on_disk(path: &Path) -> PathBuf {
    FilePath::new("/").join(path.as_ref())
}

/// Splits `path` into its folder and its name there.
fn split(path: &Path) -> (Path, String) {
    let mut parts: Vec<_> = path.parts().collect();
    let name = parts.pop().map(|name| name.as_ref().to_owned()).unwrap_or_default();
    (parts.into_iter().collect(), name)
}

fn refusal(link: &FilePath) -> io::Error {
    let link = link.display();
    io::Error::other(format!(
        "{link} is a symbolic link, behind which nothing is written or deleted; put a folder in its place"
    ))
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// Lists the entries of an open folder.
fn entries(folder: &OwnedFd) -> io::Result<Vec<(CString, Type)>> {
    let mut found = Vec::new();
    for entry in Dir::from_fd(folder.try_clone()?)?.iter() {
        let entry = entry?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        let kind = match entry.file_type() {
            Some(kind) => Some(kind),
            None => kind_of(folder, OsStr::from_bytes(name.to_bytes()))?,
        };
        found.extend(kind.map(|kind| (name.to_owned(), kind)));
    }
    Ok(found)
}

/// Returns the type of `name` in `folder` itself, or `None` if it does not exist or is of a type that a run does not have.
fn kind_of(folder: &OwnedFd, name: &OsStr) -> io::Result<Option<Type>> {
    match fstatat(folder, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
        Err(Errno::ENOENT) => Ok(None),
        Err(error) => Err(error.into()),
        Ok(status) => Ok(match SFlag::from_bits_truncate(status.st_mode) & SFlag::S_IFMT {
            SFlag::S_IFDIR => Some(Type::Directory),
            SFlag::S_IFLNK => Some(Type::Symlink),
            SFlag::S_IFREG => Some(Type::File),
            _ => None,
        }),
    }
}

fn find_objects(folder: &OwnedFd, path: &Path, depth: usize, found: &mut Vec<Path>) -> io::Result<()> {
    for (name, kind) in entries(folder)? {
        let name = OsStr::from_bytes(name.to_bytes());
        let Some(location) = location(path, FilePath::new(name)) else { continue };
        match kind {
            Type::File if !is_unfinished(&location) => found.push(location),
            Type::Directory if depth < DEPTH_MAX => match enter_one(folder, name) {
                Ok(inner) => find_objects(&inner, &location, depth + 1, found)?,
                // It is gone, or has become a link.
                Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) => {}
                Err(error) => return Err(error.into()),
            },
            _ => {}
        }
    }
    Ok(())
}

/// Removes from `folder`, whose path is `at`, what [`Disk::remove_what_is_left`] describes.
fn empty(folder: &OwnedFd, at: &FilePath, depth: usize) {
    for (name, kind) in entries(folder).unwrap_or_default() {
        let name = OsStr::from_bytes(name.to_bytes());
        let at = at.join(name);
        match kind {
            Type::Directory => remove_folder(folder, name, &at, depth + 1),
            Type::Symlink => remove_link(folder, name, &at),
            Type::File if is_odd(name) => drop(unlinkat(folder, name, UnlinkatFlags::NoRemoveDir)),
            _ => {}
        }
    }
}

/// Removes the folder `name` of `above` if nothing stays in it.
fn remove_folder(above: &OwnedFd, name: &OsStr, at: &FilePath, depth: usize) {
    if depth > DEPTH_MAX {
        return tracing::warn!("{} stays: more than {DEPTH_MAX} folders in each other", at.display());
    }
    if let Ok(folder) = enter_one(above, name) {
        empty(&folder, at, depth);
    }
    // A folder that is not empty, or no longer empty, stays.
    let _ = unlinkat(above, name, UnlinkatFlags::RemoveDir);
}

fn remove_link(folder: &OwnedFd, name: &OsStr, at: &FilePath) {
    match unlinkat(folder, name, UnlinkatFlags::NoRemoveDir) {
        Ok(()) => tracing::warn!("{} was a symbolic link: it is removed, and what it led to stays", at.display()),
        Err(error) => tracing::warn!("{} is a symbolic link that stays: {error}", at.display()),
    }
}

/// Returns whether no listing shows a file of this name.
fn is_odd(name: &OsStr) -> bool {
    location(&Path::ROOT, FilePath::new(name)).is_none_or(|location| is_unfinished(&location))
}

/// Returns the object path of the file `file` in `folder`, or `None` if no object can have its name.
fn location(folder: &Path, file: &FilePath) -> Option<Path> {
    let part = PathPart::parse(file.file_name()?.to_str()?).ok()?;
    Some(folder.clone().join(part))
}

/// Returns whether the name of `location` has the form that the local store gives to unfinished objects, and refuses to read.
fn is_unfinished(location: &Path) -> bool {
    let number = location.filename().and_then(|name| name.split_once('#')).map(|(_, number)| number);
    number.is_some_and(|number| !number.is_empty() && number.bytes().all(|digit| digit.is_ascii_digit()))
}

/// Returns the final name of the object that the file `name` was to become, if it is unfinished: `object` for `object#1`.
fn unfinished(name: &str) -> Option<&str> {
    let (object, number) = name.rsplit_once('#')?;
    number.parse::<u32>().ok().map(|_| object)
}

/// A listing in progress.
struct Listing<'l> {
    objects: Vec<ObjectMeta>,
    /// Which folders to enter.
    enters: &'l dyn Fn(&Path) -> bool,
    /// Device and inode number of the folders on the path to the present one.
    above: Vec<(u64, u64)>,
}

impl Listing<'_> {
    fn add(&mut self, at: &FilePath, path: &Path) -> io::Result<()> {
        let here = fs::metadata(at)?;
        self.above.push((here.dev(), here.ino()));
        for entry in fs::read_dir(at)? {
            let entry = entry?;
            let at = entry.path();
            let Some(location) = location(path, &at) else {
                tracing::warn!("{:?} is left out of listings: no object can be called so", at);
                continue;
            };
            let is_link = entry.file_type().is_ok_and(|kind| kind.is_symlink());
            match self.add_one(&at, location) {
                Err(error) if is_link => tracing::warn!("{} leads to what cannot be listed: {error}", at.display()),
                // It has been removed meanwhile.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                result => result?,
            }
        }
        self.above.pop();
        Ok(())
    }

    fn add_one(&mut self, at: &FilePath, location: Path) -> io::Result<()> {
        let metadata = fs::metadata(at)?;
        if metadata.is_file() && !is_unfinished(&location) {
            self.objects.push(describe(location, &metadata)?);
        } else if metadata.is_dir() && (self.enters)(&location) {
            let is_above = self.above.contains(&(metadata.dev(), metadata.ino()));
            if is_above || self.above.len() > DEPTH_MAX {
                return Err(io::Error::other("a circle, or too many folders in each other"));
            }
            let depth = self.above.len();
            let added = self.add(at, &location);
            self.above.truncate(depth);
            added?;
        }
        Ok(())
    }
}

/// Describes a file as `object_store` does.
fn describe(location: Path, metadata: &Metadata) -> io::Result<ObjectMeta> {
    let (modified, size) = (metadata.modified()?, metadata.len());
    let since_1970 = modified.duration_since(UNIX_EPOCH).unwrap_or_default();
    let e_tag = format!("\"{:x}-{:x}-{size:x}\"", metadata.ino(), since_1970.as_micros());
    Ok(ObjectMeta { location, last_modified: modified.into(), size, e_tag: Some(e_tag), version: None })
}

/// Converts `error` to a store's error.
fn failed(path: &Path, error: io::Error) -> object_store::Error {
    match is_absent(&error) {
        true => object_store::Error::NotFound { path: path.to_string(), source: error.into() },
        false => object_store::Error::Generic { store: "local disk", source: error.into() },
    }
}

impl fmt::Display for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Disk({})", on_disk(&self.root).display())
    }
}

#[async_trait]
impl ObjectStore for Disk {
    async fn put_opts(&self, path: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.refuse_links(path).map_err(|error| failed(path, error))?;
        self.files.put_opts(path, payload, options).await
    }

    async fn put_multipart_opts(&self, path: &Path, options: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.refuse_links(path).map_err(|error| failed(path, error))?;
        self.files.put_multipart_opts(path, options).await
    }

    async fn get_opts(&self, path: &Path, options: GetOptions) -> Result<GetResult> {
        self.files.get_opts(path, options).await
    }

    async fn get_ranges(&self, path: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.files.get_ranges(path, ranges).await
    }

    fn delete_stream(&self, paths: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let disk = self.clone();
        let delete = move |path: Path| {
            let deleted = disk.delete(&path).map_err(|error| failed(&path, error));
            futures::future::ready(deleted.map(|()| path))
        };
        paths.and_then(delete).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let folder = prefix.cloned().unwrap_or_default();
        match Disk::list(self, &folder, &|_| true) {
            Ok(objects) => stream::iter(objects.into_iter().map(Ok)).boxed(),
            Err(error) => stream::iter([Err(failed(&folder, error))]).boxed(),
        }
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let folder = prefix.cloned().unwrap_or_default();
        self.list_one_level(&folder).map_err(|error| failed(&folder, error))
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.refuse_links(to).map_err(|error| failed(to, error))?;
        self.files.copy_opts(from, to, options).await
    }
}
