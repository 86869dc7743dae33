//! The end of a manifest: the hash of everything before it.

use bytes::Bytes;

use crate::sha256::hex_sha256;

/// Text between the rest of the file and its hash. JSON escapes quotes within strings, so nothing else looks like it.
pub(super) const SEAL: &str = ",\n  \"manifest_sha256\": \"";
/// Text after the hash, which ends the file.
const SEAL_END: &str = "\"\n}\n";
/// Completes a JSON object, given up to its last field, with its own hash.
pub(super) fn seal(head: &str) -> Bytes {
    Bytes::from(format!("{head}{SEAL}{}{SEAL_END}", hex_sha256(head.as_bytes())))
}

pub(super) fn check_seal(content: &[u8]) -> Result<(), String> {
    let text = std::str::from_utf8(content).map_err(|e| e.to_string())?;
    let (head, tail) = text.rsplit_once(SEAL).ok_or("it does not end with its own hash: truncated, or overwritten")?;
    let stated = tail.strip_suffix(SEAL_END).ok_or("it does not end after its own hash: truncated, or overwritten")?;
    let got = hex_sha256(head.as_bytes());
    match got == stated {
        true => Ok(()),
        false => Err(format!("its bytes have SHA-256 {got}, expected {stated:?}: damaged")),
    }
}
