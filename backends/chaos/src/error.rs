//! What is wrong with the settings, in the words of the contract.

use lipcast_plugins_api::author::Error;

/// A setting that this backend does not know or cannot take.
pub(crate) fn setting(message: impl std::fmt::Display) -> Error {
    Error::invalid_arg(format!("chaos: {message}"))
}
