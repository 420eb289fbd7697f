//! What the real Discord refuses.
