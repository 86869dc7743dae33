//! One operation between ranks: rank 0 collects all contributions, combines them in rank order, and answers each rank.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::ops::Add;

use crate::job::Job;
use crate::operation::{Kind, Operation, Reduction};

/// Returns the bytes that must agree between ranks, or they are not in one operation.
fn header(job: &Job) -> Vec<u8> {
    format!("{:?} {:?} {:64}", job.operation, job.kind, job.sent().len()).into_bytes()
}

/// Sends the contribution of a rank other than 0, and receives the answer.
pub fn contribute(hub: &mut TcpStream, rank: usize, job: &mut Job) -> io::Result<()> {
    hub.write_all(&header(job))?;
    match job.operation {
        Operation::Broadcast { root } if root != rank => {}
        _ => hub.write_all(job.sent())?,
    }
    hub.read_exact(job.received())
}

/// Receives all contributions on rank 0, in rank order, and sends the answers.
pub fn answer(peers: &mut [TcpStream], world: usize, job: &mut Job) -> io::Result<()> {
    let expected = header(job);
    let mut all = job.sent().to_vec();
    for (peer, rank) in peers.iter_mut().zip(1..) {
        let mut header = vec![0; expected.len()];
        peer.read_exact(&mut header)?;
        if header != expected {
            return Err(io::Error::new(ErrorKind::InvalidData, "the ranks are in different operations"));
        }
        let mut theirs = vec![0; job.sent().len()];
        match job.operation {
            Operation::AllReduce(reduction) | Operation::ReduceScatter(reduction) => {
                peer.read_exact(&mut theirs)?;
                reduce(job.kind, reduction, &mut all, &theirs);
            }
            Operation::AllGather => {
                peer.read_exact(&mut theirs)?;
                all.extend(theirs);
            }
            Operation::Broadcast { root } if root == rank => peer.read_exact(&mut all)?,
            Operation::Broadcast { .. } => {}
        }
    }
    let part = all.len() / world;
    let of_rank = |rank: usize| match job.operation {
        Operation::ReduceScatter(_) => &all[rank * part..][..part],
        _ => &all[..],
    };
    for (peer, rank) in peers.iter_mut().zip(1..) {
        peer.write_all(of_rank(rank))?;
    }
    let mine = of_rank(0).to_vec();
    job.received().copy_from_slice(&mine);
    Ok(())
}

/// Combines `from` into `into`, element by element.
fn reduce(kind: Kind, reduction: Reduction, into: &mut [u8], from: &[u8]) {
    macro_rules! combine {
        ($decode:expr, $encode:expr, $sum:expr) => {
            fold(into, from, $decode, $encode, |a, b| if reduction == Reduction::Sum { $sum(a, b) } else { a.max(b) })
        };
    }
    match kind {
        Kind::UInt8 => combine!(u8::from_le_bytes, u8::to_le_bytes, u8::wrapping_add),
        Kind::Int64 => combine!(i64::from_le_bytes, i64::to_le_bytes, i64::wrapping_add),
        Kind::Float32 => combine!(f32::from_le_bytes, f32::to_le_bytes, f32::add),
        Kind::Float64 => combine!(f64::from_le_bytes, f64::to_le_bytes, f64::add),
        Kind::BFloat16 => combine!(widen, round, f32::add),
    }
}

fn fold<const N: usize, T>(
    into: &mut [u8],
    from: &[u8],
    decode: fn([u8; N]) -> T,
    encode: fn(T) -> [u8; N],
    combine: impl Fn(T, T) -> T,
) {
    let (into, _) = into.as_chunks_mut::<N>();
    let (from, _) = from.as_chunks::<N>();
    for (mine, theirs) in into.iter_mut().zip(from) {
        *mine = encode(combine(decode(*mine), decode(*theirs)));
    }
}

/// Converts a bfloat16, which is the upper half of a float32.
fn widen([low, high]: [u8; 2]) -> f32 {
    f32::from_le_bytes([0, 0, low, high])
}

/// Rounds to the nearest bfloat16, and to the even one of two. NaN stays NaN.
fn round(value: f32) -> [u8; 2] {
    let bits = value.to_bits();
    let rounded = match value.is_nan() {
        true => bits | 0x0040_0000,
        false => bits + 0x7fff + ((bits >> 16) & 1),
    };
    let [_, _, low, high] = rounded.to_le_bytes();
    [low, high]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bfloat16_rounds_to_the_nearest_even() {
        for (value, expected) in [(1.0, 1.0), (-3.5, -3.5), (256.0, 256.0), (257.0, 256.0), (259.0, 260.0)] {
            assert_eq!(widen(round(value)), expected);
        }
        assert!(widen(round(f32::NAN)).is_nan());
        assert_eq!(widen(round(f32::INFINITY)), f32::INFINITY);
    }
}
