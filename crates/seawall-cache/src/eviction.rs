//! What is given up when there is no room.
