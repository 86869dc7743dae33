//! The service of `s3s-fs`, with large reads: the original reads 4 KiB at a time, and measurements of clients would show
//! nothing else. It also remembers the last changes, for listings that do not show them yet.

use std::fs::File;
use std::future::Future;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use futures::{Stream, stream};
use s3s::dto::*;
use s3s::{S3, S3Request, S3Response, S3Result};
use s3s_fs::FileSystem;

use crate::listings::{Changes, Wrong};

const PIECE_BYTES: u64 = 1 << 20;

/// A served folder.
pub struct LargeReads {
    files: FileSystem,
    root: PathBuf,
    changes: Changes,
}

impl LargeReads {
    /// Serves the folder `root`.
    pub fn new(root: &Path) -> io::Result<Self> {
        let files = FileSystem::new(root).map_err(|error| io::Error::other(format!("{error:?}")))?;
        Ok(LargeReads { files, root: root.to_owned(), changes: Changes::default() })
    }
}

type Answer<'f, T> = Pin<Box<dyn Future<Output = S3Result<S3Response<T>>> + Send + 'f>>;

/// Operations that are left to `s3s-fs`, of those that Convoy and its peers use.
macro_rules! left_as_they_are {
    ($($operation:ident($input:ty) -> $output:ty;)*) => {
        $(fn $operation<'s, 'f>(&'s self, request: S3Request<$input>) -> Answer<'f, $output>
        where
            's: 'f,
            Self: 'f,
        {
            self.changes.count();
            self.files.$operation(request)
        })*
    };
}

/// Operations that are left to `s3s-fs` and change the object that they name, which is remembered.
macro_rules! remembered {
    ($($operation:ident($input:ty) -> $output:ty;)*) => {
        $(fn $operation<'s, 'f>(&'s self, request: S3Request<$input>) -> Answer<'f, $output>
        where
            's: 'f,
            Self: 'f,
        {
            self.changes.count();
            let before = self.changes.look(&self.root, &request.input.bucket, &request.input.key);
            Box::pin(async move {
                let answer = self.files.$operation(request).await?;
                self.changes.remember(before);
                Ok(answer)
            })
        })*
    };
}

impl S3 for LargeReads {
    fn get_object<'s, 'f>(&'s self, request: S3Request<GetObjectInput>) -> Answer<'f, GetObjectOutput>
    where
        's: 'f,
        Self: 'f,
    {
        self.changes.count();
        Box::pin(async move {
            let (path, range) = (self.root.join(&request.input.bucket).join(&request.input.key), request.input.range);
            let mut answer = self.files.get_object(request).await?;
            let (Ok(file), Some(length)) = (File::open(path), answer.output.content_length) else { return Ok(answer) };
            let bytes = file.metadata().map_or(0, |metadata| metadata.len());
            let start = range.map_or(Ok(0), |range| range.check(bytes).map(|range| range.start))?;
            let pieces = pieces(Arc::new(file), start, start + length.unsigned_abs());
            answer.output.body = Some(StreamingBlob::wrap(pieces));
            Ok(answer)
        })
    }

    fn delete_objects<'s, 'f>(&'s self, request: S3Request<DeleteObjectsInput>) -> Answer<'f, DeleteObjectsOutput>
    where
        's: 'f,
        Self: 'f,
    {
        self.changes.count();
        let look = |object: &ObjectIdentifier| self.changes.look(&self.root, &request.input.bucket, &object.key);
        let before: Vec<_> = request.input.delete.objects.iter().map(look).collect();
        Box::pin(async move {
            let answer = self.files.delete_objects(request).await?;
            before.into_iter().for_each(|before| self.changes.remember(before));
            Ok(answer)
        })
    }

    fn list_objects_v2<'s, 'f>(&'s self, request: S3Request<ListObjectsV2Input>) -> Answer<'f, ListObjectsV2Output>
    where
        's: 'f,
        Self: 'f,
    {
        self.changes.count();
        let Some(wrong) = request.extensions.get::<Wrong>().copied() else {
            return self.files.list_objects_v2(request);
        };
        Box::pin(async move {
            let asked = request.input.clone();
            let all = request.map_input(|input| ListObjectsV2Input {
                delimiter: None,
                continuation_token: None,
                start_after: None,
                max_keys: Some(i32::MAX),
                ..input
            });
            let answer = self.files.list_objects_v2(all).await?;
            Ok(answer.map_output(|all| self.changes.page(all.contents.unwrap_or_default(), &asked, wrong)))
        })
    }

    remembered! {
        complete_multipart_upload(CompleteMultipartUploadInput) -> CompleteMultipartUploadOutput;
        delete_object(DeleteObjectInput) -> DeleteObjectOutput;
        put_object(PutObjectInput) -> PutObjectOutput;
    }

    left_as_they_are! {
        abort_multipart_upload(AbortMultipartUploadInput) -> AbortMultipartUploadOutput;
        copy_object(CopyObjectInput) -> CopyObjectOutput;
        create_bucket(CreateBucketInput) -> CreateBucketOutput;
        create_multipart_upload(CreateMultipartUploadInput) -> CreateMultipartUploadOutput;
        get_bucket_location(GetBucketLocationInput) -> GetBucketLocationOutput;
        head_bucket(HeadBucketInput) -> HeadBucketOutput;
        head_object(HeadObjectInput) -> HeadObjectOutput;
        list_buckets(ListBucketsInput) -> ListBucketsOutput;
        list_objects(ListObjectsInput) -> ListObjectsOutput;
        list_parts(ListPartsInput) -> ListPartsOutput;
        upload_part(UploadPartInput) -> UploadPartOutput;
        upload_part_copy(UploadPartCopyInput) -> UploadPartCopyOutput;
    }
}

/// Reads bytes `start` up to `end` of `file` in pieces.
fn pieces(file: Arc<File>, start: u64, end: u64) -> impl Stream<Item = io::Result<Bytes>> + Send + Sync {
    stream::try_unfold(start, move |at| {
        let file = file.clone();
        async move {
            if at >= end {
                return Ok(None);
            }
            let read = tokio::task::spawn_blocking(move || {
                let mut piece = vec![0; PIECE_BYTES.min(end - at) as usize];
                file.read_exact_at(&mut piece, at).map(|()| piece)
            });
            let piece = read.await.map_err(io::Error::other)??;
            let next = at + piece.len() as u64;
            Ok(Some((Bytes::from(piece), next)))
        }
    })
}
