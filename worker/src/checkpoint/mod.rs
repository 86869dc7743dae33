//! Save and restore: see common::checkpoint_layout for names and manifest.
