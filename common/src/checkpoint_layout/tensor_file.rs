//! Safetensors files of float32 tensors: their headers, and the place of each tensor.
//!
//! The contents of a header are claims: [`Header::parse`] checks them against the file's size before anything relies on them.

use std::collections::HashMap;
use std::ops::Range;

use safetensors::tensor::{Dtype, Metadata, SafeTensorError, TensorInfo};

/// Size of an element, in bytes.
pub const ELEMENT_BYTES: usize = size_of::<f32>();
/// Size of the length of the header, with which a file begins, in bytes.
pub const LENGTH_BYTES: usize = size_of::<u64>();
/// Size of the longest header, in bytes, as in the safetensors library. The header of a model of a thousand layers is a
/// hundredth of that.
const HEADER_BYTES_MAX: u64 = 100_000_000;
/// Alignment of the data, in bytes, which suits vector units and copies.
const ALIGNMENT: usize = 64;

/// Layout of a file to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorFile {
    /// Everything before the data.
    pub header: Vec<u8>,
    /// Place of each tensor, in bytes from the file's start. Tensors follow each other from the header to the file's end.
    pub tensors: Vec<Range<usize>>,
}

impl TensorFile {
    /// Lays out `tensors`, given as names and shapes, in their order. Equal tensors give equal files.
    pub fn new(tensors: Vec<(String, Vec<u64>)>) -> Result<Self, SafeTensorError> {
        let mut at = 0;
        let infos = tensors.into_iter().map(|(name, shape)| {
            let shape: Vec<usize> = shape.into_iter().map(|size| size as usize).collect();
            let start = at;
            at += shape.iter().product::<usize>() * ELEMENT_BYTES;
            (name, TensorInfo { dtype: Dtype::F32, shape, data_offsets: (start, at) })
        });
        let infos: Vec<_> = infos.collect();
        let offsets: Vec<_> = infos.iter().map(|(_, info)| info.data_offsets).collect();
        // `transformers` refuses files that do not name the framework that laid out their tensors.
        let format = HashMap::from([("format".to_owned(), "pt".to_owned())]);
        let header = padded(serde_json::to_vec(&Metadata::new(Some(format), infos)?)?);
        let tensors = offsets.into_iter().map(|(start, end)| header.len() + start..header.len() + end).collect();
        Ok(TensorFile { header, tensors })
    }

    /// Returns the size of the file in bytes.
    pub fn bytes(&self) -> usize {
        self.tensors.last().map_or(self.header.len(), |last| last.end)
    }
}

/// Returns a header with its length, padded with spaces up to the data.
fn padded(json: Vec<u8>) -> Vec<u8> {
    let end = (LENGTH_BYTES + json.len()).next_multiple_of(ALIGNMENT);
    let mut header = ((end - LENGTH_BYTES) as u64).to_le_bytes().to_vec();
    header.extend(json);
    header.resize(end, b' ');
    header
}

/// Header of a file to be read.
#[derive(Debug)]
pub struct Header {
    tensors: Metadata,
    /// Offset of the data from the file's start, in bytes.
    data: usize,
}

impl Header {
    /// Returns the offset of the end of the header, in a file of `bytes` bytes that begins with `start`: [`LENGTH_BYTES`] or
    /// fewer.
    pub fn end(start: &[u8], bytes: u64) -> Result<u64, String> {
        let length = start.try_into().map(u64::from_le_bytes).map_err(|_| "too short for a header")?;
        if length > HEADER_BYTES_MAX {
            return Err(format!("its header has {length} bytes, and at most {HEADER_BYTES_MAX} are read"));
        }
        let end = length + LENGTH_BYTES as u64;
        if end > bytes {
            return Err("its header is longer than the whole".into());
        }
        Ok(end)
    }

    /// Parses the header of a file of `bytes` bytes. `json` is what lies between the length and the data.
    pub fn parse(json: &[u8], bytes: u64) -> Result<Self, String> {
        let tensors: Metadata = serde_json::from_slice(json).map_err(|e| format!("its header: {e}"))?;
        let data = LENGTH_BYTES + json.len();
        match data.checked_add(tensors.data_len()) {
            Some(expected) if expected as u64 == bytes => Ok(Header { tensors, data }),
            expected => {
                let expected = expected.map_or("more than 2^64".into(), |expected| expected.to_string());
                Err(format!("its header describes {expected} bytes, and it has {bytes}"))
            }
        }
    }

    /// Returns the range of the float32 tensor `key`, in bytes from the file's start, and its shape. Fails unless it has
    /// `elements` elements.
    pub fn tensor(&self, key: &str, elements: u64) -> Result<(Range<usize>, Vec<u64>), String> {
        let info = self.tensors.info(key).ok_or_else(|| format!("tensor `{key}` not found"))?;
        if info.dtype != Dtype::F32 {
            return Err(format!("{key} is {}, expected F32", info.dtype));
        }
        let (start, end) = info.data_offsets;
        let got = ((end - start) / ELEMENT_BYTES) as u64;
        if got != elements {
            return Err(format!("{key} has {got} elements, expected {elements}"));
        }
        if !self.data.is_multiple_of(ELEMENT_BYTES) {
            return Err(format!("its data begin at byte {}, expected a multiple of {ELEMENT_BYTES}", self.data));
        }
        let shape = info.shape.iter().map(|size| *size as u64).collect();
        Ok((self.data + start..self.data + end, shape))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the header of consecutive tensors of these sizes in elements, in a file with `bytes` bytes of data.
    fn header(elements: &[u64], bytes: u64) -> Result<Header, String> {
        let mut end = 0;
        let tensors = elements.iter().enumerate().map(|(name, elements)| {
            let start = end;
            end += 4 * elements;
            format!(r#""{name}":{{"dtype":"F32","shape":[{elements}],"data_offsets":[{start},{end}]}}"#)
        });
        let json = format!("{{{}}}", tensors.collect::<Vec<_>>().join(","));
        let start = padded(json.into_bytes());
        Header::parse(&start[LENGTH_BYTES..], bytes.saturating_add(start.len() as u64))
    }

    #[test]
    fn a_header_that_describes_more_than_there_can_be_is_refused() {
        assert!(header(&[4, 1], 20).unwrap().tensor("0", 4).is_ok());
        assert!(header(&[4, 1], 19).unwrap_err().contains("bytes, and it has"));
        // The largest size that one tensor can have, and eight of these: 2^64 - 32 bytes, besides a header.
        let text = header(&[(1 << 59) - 1; 8], u64::MAX).unwrap_err();
        assert!(text.contains("describes more than 2^64 bytes"), "{text}");
        assert!(header(&[1 << 59], 1 << 61).is_err());
    }

    #[test]
    fn a_header_ends_within_its_file() {
        let end = |length: u64, bytes| Header::end(&length.to_le_bytes(), bytes);
        assert_eq!(end(92, 100), Ok(100));
        assert!(end(93, 100).unwrap_err().contains("longer than the whole"));
        assert!(end(HEADER_BYTES_MAX + 1, u64::MAX).unwrap_err().contains("at most 100000000 are read"));
        assert!(end(u64::MAX, u64::MAX).is_err());
        assert!(Header::end(b"1234567", 7).unwrap_err().contains("too short"));
    }
}
