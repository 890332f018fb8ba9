//! A prepared avatar and the blob it is kept in.
