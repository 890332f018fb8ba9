//! The backend as the host sees it.
