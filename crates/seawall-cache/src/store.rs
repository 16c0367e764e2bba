//! The store of a node.
