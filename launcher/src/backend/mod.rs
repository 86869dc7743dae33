//! What starts the ranks of an attempt. Today only this machine; a file each.

pub mod local;
