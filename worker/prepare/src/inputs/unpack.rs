//! Reads the bytes of an object, counts them, and unpacks them.

use std::io::{self, BufRead, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use common::storage::Reader;
use flate2::bufread::GzDecoder;

use super::source::{Packing, Source};

/// Base-2 logarithm of the largest window, 2 GiB: a zstd frame may refer back that far, as `zstd --long=31` does, and an xz
/// stream may need as much memory. The window is only filled as far as there is content.
const WINDOW_LOG_MAX: u32 = 31;

/// A reader that counts the bytes it reads.
pub(super) struct Counted {
    pub reader: Reader,
    pub counter: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.fill_buf()?.read(buffer)?;
        self.consume(count);
        Ok(count)
    }
}

impl BufRead for Counted {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.reader.fill_buf()
    }

    fn consume(&mut self, count: usize) {
        self.counter.fetch_add(count as u64, Ordering::Relaxed);
        self.reader.consume(count);
    }
}

/// Opens `source` and unpacks its bytes.
pub(super) fn unpacked(source: &Source, counter: &Arc<AtomicU64>) -> io::Result<Box<dyn Read + Send>> {
    let packed = Counted { reader: source.folder.reader(&source.name, 0..source.bytes), counter: counter.clone() };
    Ok(match source.kind.packing {
        Packing::Plain => Box::new(packed),
        Packing::Gzip => Box::new(Gzip { member: Some(GzDecoder::new(packed)) }),
        Packing::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(packed)?;
            decoder.window_log_max(WINDOW_LOG_MAX)?;
            Box::new(decoder)
        }
        Packing::Xz => {
            // Memory for xz is the dictionary and a little more.
            let memory = (1 << WINDOW_LOG_MAX) + (64 << 20);
            let flags = liblzma::stream::CONCATENATED;
            let stream = liblzma::stream::Stream::new_stream_decoder(memory, flags).map_err(io::Error::other)?;
            Box::new(liblzma::read::XzDecoder::new_stream(packed, stream))
        }
        Packing::Bzip2 => Box::new(bzip2::read::MultiBzDecoder::new(packed)),
    })
}

/// Reader of the members of a gzip file, one after another. Zeros after a member are skipped, as by gzip: tapes are padded
/// with them.
struct Gzip<R> {
    /// Current member; `None` after the last.
    member: Option<GzDecoder<R>>,
}

impl<R: BufRead> Read for Gzip<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while let Some(member) = &mut self.member {
            let count = member.read(buffer)?;
            if count > 0 || buffer.is_empty() {
                return Ok(count);
            }
            let has_more = skip_zeros(member.get_mut())?;
            self.member = self.member.take().filter(|_| has_more).map(|member| GzDecoder::new(member.into_inner()));
        }
        Ok(0)
    }
}

/// Skips the zeros that come next. Returns `false` where nothing follows.
fn skip_zeros(input: &mut impl BufRead) -> io::Result<bool> {
    loop {
        let bytes = input.fill_buf()?;
        let (all, zeros) = (bytes.len(), bytes.iter().take_while(|byte| **byte == 0).count());
        input.consume(zeros);
        if zeros < all || all == 0 {
            return Ok(all > 0);
        }
    }
}
