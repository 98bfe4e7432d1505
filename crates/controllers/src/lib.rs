//! `controllers`.
