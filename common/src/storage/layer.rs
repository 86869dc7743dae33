//! A layer between a [`Folder`](super::Folder) and its store that every request passes, in which tests make stores fail.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartId, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, UploadPart,
};

use super::open::Opened;

/// Hooks around every request to a store.
pub trait Layer: fmt::Debug + Send + Sync {
    /// Called before the request `what` on `path`. An error becomes the answer, and the request is not made.
    fn before(&self, what: &'static str, path: &str) -> std::result::Result<(), String>;

    /// Called after the request has been carried out. An error means that its answer is lost.
    fn after(&self, what: &'static str, path: &str) -> std::result::Result<(), String>;
}

/// Returns `opened` behind `layer`.
pub(super) fn behind(layer: &Arc<dyn Layer>, opened: Opened) -> Opened {
    Opened {
        objects: Arc::new(Layered { layer: layer.clone(), inner: opened.objects }),
        parts: opened.parts.map(|inner| Arc::new(Layered { layer: layer.clone(), inner }) as Arc<dyn MultipartStore>),
    }
}

/// Returns an upload that bypasses the store, behind `layer`.
pub(super) fn upload_behind(
    layer: &Arc<dyn Layer>,
    path: String,
    begin: impl FnOnce() -> Result<Box<dyn MultipartUpload>>,
) -> Result<Box<dyn MultipartUpload>> {
    layer.before("begin", &path).map_err(lost)?;
    let inner = begin()?;
    layer.after("begin", &path).map_err(lost)?;
    Ok(Box::new(LayeredUpload { layer: layer.clone(), path, inner }))
}

struct Layered<S: ?Sized> {
    layer: Arc<dyn Layer>,
    inner: Arc<S>,
}

/// Returns an error that is not retried.
fn lost(reason: String) -> object_store::Error {
    object_store::Error::NotSupported { source: reason.into() }
}

/// Carries out `request` as `layer` allows.
async fn pass<T>(
    layer: &dyn Layer,
    what: &'static str,
    path: &str,
    request: impl Future<Output = Result<T>>,
) -> Result<T> {
    layer.before(what, path).map_err(lost)?;
    let answer = request.await?;
    layer.after(what, path).map_err(lost)?;
    Ok(answer)
}

impl<S: ?Sized> fmt::Debug for Layered<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "behind {:?}", self.layer)
    }
}

impl<S: ?Sized> fmt::Display for Layered<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "behind {:?}", self.layer)
    }
}

#[async_trait]
impl ObjectStore for Layered<dyn ObjectStore> {
    async fn put_opts(&self, path: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        pass(self.layer.as_ref(), "put", path.as_ref(), self.inner.put_opts(path, payload, options)).await
    }

    async fn put_multipart_opts(&self, path: &Path, options: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        let begin = self.inner.put_multipart_opts(path, options);
        let inner = pass(self.layer.as_ref(), "begin", path.as_ref(), begin).await?;
        Ok(Box::new(LayeredUpload { layer: self.layer.clone(), path: path.to_string(), inner }))
    }

    async fn get_opts(&self, path: &Path, options: GetOptions) -> Result<GetResult> {
        pass(self.layer.as_ref(), "get", path.as_ref(), self.inner.get_opts(path, options)).await
    }

    async fn get_ranges(&self, path: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        pass(self.layer.as_ref(), "get", path.as_ref(), self.inner.get_ranges(path, ranges)).await
    }

    fn delete_stream(&self, paths: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let (layer, inner) = (self.layer.clone(), self.inner.clone());
        // Objects are deleted one by one, so that a process can end between any two of them.
        let delete = move |path: Path| {
            let (layer, inner) = (layer.clone(), inner.clone());
            async move {
                let one = stream::iter([Ok(path.clone())]).boxed();
                let delete = async { inner.delete_stream(one).try_collect::<Vec<_>>().await };
                pass(layer.as_ref(), "delete", path.as_ref(), delete).await.map(|_| path)
            }
        };
        paths.and_then(delete).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let path = prefix.map(Path::to_string).unwrap_or_default();
        match self.layer.before("list", &path) {
            Ok(()) => self.inner.list(prefix),
            Err(reason) => stream::iter([Err(lost(reason))]).boxed(),
        }
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let path = prefix.map(Path::to_string).unwrap_or_default();
        pass(self.layer.as_ref(), "list", &path, self.inner.list_with_delimiter(prefix)).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        pass(self.layer.as_ref(), "copy", to.as_ref(), self.inner.copy_opts(from, to, options)).await
    }
}

#[async_trait]
impl MultipartStore for Layered<dyn MultipartStore> {
    async fn create_multipart(&self, path: &Path) -> Result<MultipartId> {
        pass(self.layer.as_ref(), "begin", path.as_ref(), self.inner.create_multipart(path)).await
    }

    async fn put_part(&self, path: &Path, id: &MultipartId, index: usize, data: PutPayload) -> Result<PartId> {
        pass(self.layer.as_ref(), "part", path.as_ref(), self.inner.put_part(path, id, index, data)).await
    }

    async fn complete_multipart(&self, path: &Path, id: &MultipartId, parts: Vec<PartId>) -> Result<PutResult> {
        pass(self.layer.as_ref(), "complete", path.as_ref(), self.inner.complete_multipart(path, id, parts)).await
    }

    async fn abort_multipart(&self, path: &Path, id: &MultipartId) -> Result<()> {
        pass(self.layer.as_ref(), "abort", path.as_ref(), self.inner.abort_multipart(path, id)).await
    }
}

/// An upload of a store that writes by itself.
#[derive(Debug)]
struct LayeredUpload {
    layer: Arc<dyn Layer>,
    path: String,
    inner: Box<dyn MultipartUpload>,
}

#[async_trait]
impl MultipartUpload for LayeredUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let (layer, path, part) = (self.layer.clone(), self.path.clone(), self.inner.put_part(data));
        Box::pin(async move { pass(layer.as_ref(), "part", &path, part).await })
    }

    async fn complete(&mut self) -> Result<PutResult> {
        pass(self.layer.as_ref(), "complete", &self.path, self.inner.complete()).await
    }

    async fn abort(&mut self) -> Result<()> {
        pass(self.layer.as_ref(), "abort", &self.path, self.inner.abort()).await
    }
}
