//! What can be wrong with an avatar's blob.
