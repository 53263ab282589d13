//! Placeholder head; see the module's own documentation.
