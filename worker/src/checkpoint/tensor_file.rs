//! Safetensors files of float32 tensors, to and from plain vectors.

use std::borrow::Cow;
use std::collections::HashMap;

use bytes::Bytes;
use safetensors::tensor::{Dtype, SafeTensorError, SafeTensors, View};

/// A float32 tensor to be written.
pub(super) struct F32View<'a> {
    pub shape: Vec<usize>,
    pub data: &'a [f32],
}

impl View for F32View<'_> {
    fn dtype(&self) -> Dtype {
        Dtype::F32
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        let mut bytes = vec![0; self.data_len()];
        for (to, from) in bytes.chunks_exact_mut(4).zip(self.data) {
            to.copy_from_slice(&from.to_le_bytes());
        }
        Cow::Owned(bytes)
    }

    fn data_len(&self) -> usize {
        self.data.len() * 4
    }
}

/// The bytes of a file with `tensors`; the same tensors give the same bytes.
pub(super) fn encode(tensors: Vec<(String, F32View<'_>)>) -> Result<Bytes, SafeTensorError> {
    // `transformers` refuses files that do not say which framework laid their tensors out.
    let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    safetensors::serialize(tensors, Some(metadata)).map(Bytes::from)
}

/// The float32 tensor `key` of `file`, which must have `elements` elements; with its shape.
pub(super) fn tensor(file: &SafeTensors<'_>, key: &str, elements: u64) -> Result<(Vec<f32>, Vec<u64>), String> {
    let view = file.tensor(key).map_err(|e| e.to_string())?;
    if view.dtype() != Dtype::F32 {
        return Err(format!("{key} is {}, expected F32", view.dtype()));
    }
    let shape = view.shape().iter().map(|size| *size as u64).collect();
    let data: Vec<f32> = view.data().chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
    match data.len() as u64 == elements {
        true => Ok((data, shape)),
        false => Err(format!("{key} has {} elements, expected {elements}", data.len())),
    }
}
