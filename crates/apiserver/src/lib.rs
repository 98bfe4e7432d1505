//! `apiserver`.
