//! `admission`.
