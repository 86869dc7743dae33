//! What an operation is, by NCCL's numbers.

use std::ffi::c_int;

/// An operation between ranks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    AllReduce(Reduction),
    ReduceScatter(Reduction),
    AllGather,
    Broadcast { root: usize },
}

/// How elements of several ranks are combined: `ncclRedOp_t`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reduction {
    Sum,
    Max,
}

impl Reduction {
    pub fn of(number: c_int) -> Option<Self> {
        match number {
            0 => Some(Reduction::Sum),
            2 => Some(Reduction::Max),
            _ => None,
        }
    }
}

/// Type of elements: `ncclDataType_t`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    UInt8,
    Int64,
    Float32,
    Float64,
    BFloat16,
}

impl Kind {
    pub fn of(number: c_int) -> Option<Self> {
        match number {
            1 => Some(Kind::UInt8),
            4 => Some(Kind::Int64),
            7 => Some(Kind::Float32),
            8 => Some(Kind::Float64),
            9 => Some(Kind::BFloat16),
            _ => None,
        }
    }

    pub fn bytes(self) -> usize {
        match self {
            Kind::UInt8 => 1,
            Kind::BFloat16 => 2,
            Kind::Float32 => 4,
            Kind::Int64 | Kind::Float64 => 8,
        }
    }
}
