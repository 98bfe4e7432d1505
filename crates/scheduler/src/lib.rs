//! `scheduler`.
