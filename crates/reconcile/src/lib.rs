//! `reconcile`.
