//! What a backup knows of itself.
