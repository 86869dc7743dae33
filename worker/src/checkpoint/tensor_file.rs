//! Safetensors files of float32 tensors: their headers, and what lies where in them.

use std::collections::HashMap;
use std::ops::Range;

use safetensors::tensor::{Dtype, Metadata, SafeTensorError, TensorInfo};

/// Bytes of an element.
pub(super) const ELEMENT_BYTES: usize = size_of::<f32>();
/// What a file begins with: the length of its header.
pub(super) const LENGTH_BYTES: usize = size_of::<u64>();
/// Data begin at a multiple of this, which is what vector units and copies like best.
const ALIGNMENT: usize = 64;

/// A file that is to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TensorFile {
    /// Everything before the data.
    pub header: Vec<u8>,
    /// Where each tensor lies, in bytes from the file's start; one after the other, from the header to the file's end.
    pub tensors: Vec<Range<usize>>,
}

impl TensorFile {
    /// Lays out `tensors`, names and shapes, in their order; the same tensors give the same file.
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
        // `transformers` refuses files that do not say which framework laid their tensors out.
        let format = HashMap::from([("format".to_owned(), "pt".to_owned())]);
        let header = padded(serde_json::to_vec(&Metadata::new(Some(format), infos)?)?);
        let tensors = offsets.into_iter().map(|(start, end)| header.len() + start..header.len() + end).collect();
        Ok(TensorFile { header, tensors })
    }

    /// Size of the file.
    pub fn bytes(&self) -> usize {
        self.tensors.last().map_or(self.header.len(), |last| last.end)
    }
}

/// A header with its length, and spaces up to where the data begin.
fn padded(json: Vec<u8>) -> Vec<u8> {
    let end = (LENGTH_BYTES + json.len()).next_multiple_of(ALIGNMENT);
    let mut header = ((end - LENGTH_BYTES) as u64).to_le_bytes().to_vec();
    header.extend(json);
    header.resize(end, b' ');
    header
}

/// The header of a file that is to be read.
pub(super) struct Header {
    tensors: Metadata,
    /// Where the data begin.
    data: usize,
}

impl Header {
    /// Reads the header of a file of `bytes` bytes; `json` is what lies between the length and the data.
    pub fn parse(json: &[u8], bytes: u64) -> Result<Self, String> {
        let tensors: Metadata = serde_json::from_slice(json).map_err(|e| format!("its header: {e}"))?;
        let data = LENGTH_BYTES + json.len();
        let expected = (data + tensors.data_len()) as u64;
        match bytes == expected {
            true => Ok(Header { tensors, data }),
            false => Err(format!("its header describes {expected} bytes, and it has {bytes}")),
        }
    }

    /// Where the float32 tensor `key` lies, in bytes from the file's start, and its shape. It must have `elements` elements.
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
