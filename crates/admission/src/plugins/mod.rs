//! One file a plugin.
