//! What a reader of one layout finds next.

use super::counts::Skipped;
use super::damage::Damage;
use super::page::Page;

/// What comes next in an object.
pub(super) enum Next {
    Page(Page),
    Damage(Damage),
    Skipped(Skipped),
    End,
}
