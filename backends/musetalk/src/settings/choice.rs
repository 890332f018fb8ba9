//! What may be asked of a runtime in a word: which device, and which precision.

use std::fmt;
use std::str::FromStr;

/// Which device the networks shall run on. What is asked for is had or refused; only [`DeviceChoice::Auto`] chooses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum DeviceChoice {
    /// A GPU when it can be had, and the log says which, or why not.
    #[default]
    Auto,
    /// The processor.
    Cpu,
    /// The GPU of that number.
    Cuda(u8),
}

/// Which precision UNet and decoder shall run in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum PrecisionChoice {
    /// fp16 on a GPU when the bundle has it, else fp32.
    #[default]
    Auto,
    /// 32 bits.
    Fp32,
    /// 16 bits.
    Fp16,
}

/// The text is none of the words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0} is expected")]
pub struct NoChoice(&'static str);

impl DeviceChoice {
    pub(super) const WORDS: &str = "\"auto\", \"cpu\", \"cuda\", or \"cuda:1\" and the like";
}

impl FromStr for DeviceChoice {
    type Err = NoChoice;

    fn from_str(text: &str) -> Result<Self, NoChoice> {
        match text {
            "auto" => return Ok(Self::Auto),
            "cpu" => return Ok(Self::Cpu),
            "cuda" => return Ok(Self::Cuda(0)),
            _ => {}
        }
        let number = text.strip_prefix("cuda:").and_then(|digits| digits.parse().ok());
        // `parse` would take a sign and zeros in front.
        number
            .filter(|number: &u8| text[5..] == number.to_string())
            .map(Self::Cuda)
            .ok_or(NoChoice(Self::WORDS))
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(0) => f.write_str("cuda"),
            Self::Cuda(number) => write!(f, "cuda:{number}"),
        }
    }
}

impl PrecisionChoice {
    pub(super) const ALL: [(&str, Self); 3] =
        [("auto", Self::Auto), ("fp32", Self::Fp32), ("fp16", Self::Fp16)];
}

impl FromStr for PrecisionChoice {
    type Err = NoChoice;

    fn from_str(text: &str) -> Result<Self, NoChoice> {
        let found = Self::ALL.iter().find(|(word, _)| *word == text);
        found.map(|(_, choice)| *choice).ok_or(NoChoice("\"auto\", \"fp32\" or \"fp16\""))
    }
}

impl fmt::Display for PrecisionChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Self::ALL.iter().find(|(_, choice)| choice == self).map_or("", |(word, _)| word))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_choices_and_choices_are_words() {
        for word in ["auto", "cpu", "cuda", "cuda:1", "cuda:255"] {
            assert_eq!(word.parse::<DeviceChoice>().map(|choice| choice.to_string()), Ok(word.to_owned()));
        }
        assert_eq!("cuda:0".parse(), Ok(DeviceChoice::Cuda(0)));
        for text in
            ["", "gpu", "cuda:", "cuda:-1", "cuda:+1", "cuda:01", "cuda:256", "cuda:x", "cpu:0", "CUDA"]
        {
            let error = text.parse::<DeviceChoice>().expect_err(text).to_string();
            assert!(error.contains("\"cuda:1\""), "{error}");
        }
        for word in ["auto", "fp32", "fp16"] {
            assert_eq!(word.parse::<PrecisionChoice>().map(|choice| choice.to_string()), Ok(word.to_owned()));
        }
        assert!("int8".parse::<PrecisionChoice>().is_err());
    }
}
