//! One performance: speech in, faces out.
