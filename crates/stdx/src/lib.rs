//! What could have been in `std`: bounded queues, backoff, time text, a seeded generator.
//!
//! Nothing here knows Kubernetes, and nothing here reads a clock or draws entropy: callers pass both in.
